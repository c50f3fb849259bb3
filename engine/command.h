/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What travels through the command queue to a shard, and back as its own completion. The sender
 * owns it before the push and after it came back; in between the shard does.
 */
#ifndef VMSWAP_ENGINE_COMMAND_H
#define VMSWAP_ENGINE_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

#define COMMAND_MAGIC 0x636d6421u

struct cmdq;
struct recorder;
struct spans;

enum command_kind {
	COMMAND_CHUNK,		 /* one chunk operation */
	COMMAND_SERVE,		 /* serve the faults of a process's descriptor */
	COMMAND_SERVE_CHILD,	 /* the same of a child that a predecessor served */
	COMMAND_UNSERVE,	 /* stop that; answered once nothing refers to the descriptor */
	COMMAND_FORGET_CHILDREN, /* close the descriptors of forked children of a VM */
	COMMAND_RECORD,		 /* record the faults of a VM from now on, or no more */
	COMMAND_SPACE,		 /* give the space of one free slot group back */
	COMMAND_SLOTS,		 /* give slots of a group that no page has back, or retire them */
	COMMAND_STOP,		 /* the shard ends; it must have no process and no chunk */
};

struct command {
	uint32_t magic;
	enum command_kind kind;
	struct vm *vm;
	struct cmdq *reply;   /* completions go to its lane 0 */
	struct command *next; /* the shard's, while it waits there */

	/* COMMAND_CHUNK; of COMMAND_SLOTS the bits */
	enum chunk_op op;
	uint32_t chunk;
	const uint64_t *bits;	       /* CHUNK_PAGES bits; of a chunk they may be NULL */
	struct dispatch_result result; /* of this chunk */

	/* COMMAND_SERVE, COMMAND_SERVE_CHILD, COMMAND_UNSERVE */
	uint32_t process; /* of a child: its parent */
	int uffd;
	const struct spans *spans; /* copied by the shard; a child has its parent's */
	uint64_t tag;
	uint32_t child_number;

	/* COMMAND_RECORD */
	struct recorder *recorder; /* of this shard; NULL: no more */

	/* COMMAND_SLOTS */
	uint32_t first_slot; /* of the group */
	bool is_retired;

	/* SERVE, SERVE_CHILD: 0 or -errno. SPACE: bytes given back. */
	int64_t outcome;
};

#endif
