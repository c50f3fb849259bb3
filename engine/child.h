/* SPDX-License-Identifier: Apache-2.0 */
/* Children that processes of a VM fork while they are served, and who holds on to them. */
#ifndef VMSWAP_ENGINE_CHILD_H
#define VMSWAP_ENGINE_CHILD_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/limits.h"
#include "io/uffd.h"

/* A child that a process of a VM forked while it was served. */
struct engine_child {
	uint64_t tag;	 /* of the process, process_spec */
	uint32_t shard;	 /* each child has a userfaultfd a shard */
	uint32_t number; /* among all that this shard has ever had, predecessors' included */
};

/* A child that a shard serves. */
struct child_record {
	_Atomic uint64_t tag; /* 0: there is none; written last, and cleared first */
	uint32_t number;
	int32_t uffd;
};

/* Of a free one. */
static inline void child_record_set(
	struct child_record *record, uint64_t tag, uint32_t number, int uffd)
{
	record->number = number;
	record->uffd = uffd;
	/* pairs with who reads the tag first, in another process */
	atomic_store_explicit(&record->tag, tag, memory_order_release);
}

/*
 * What a shard says of children in memory that outlives it: a fork among @messages, which is where
 * it reads to, is of a child that may not be kept or served yet; its parent has @tag, its number is
 * @number and on. The owner thread writes it, others read it when the process has ended.
 */
struct child_board {
	uint64_t tag;
	uint32_t number;
	struct uffd_inbox messages;
	struct child_record served[SERVED_MAX];
};

/*
 * Who outlives the engine holds the userfaultfds of children for a successor. Nobody else has them,
 * and a child whose userfaultfd is closed reads zeros where a page is out. On shard threads: must
 * not block.
 */
struct children_home {
	void *context;
	/* One a shard. NULL: nobody reads them. */
	struct child_board *boards;
	/* Holds a duplicate of @uffd. -errno: it does not. NULL: there is nobody. */
	int (*keep)(void *context, const struct engine_child *child, int uffd);
	/* The child has ended, or needs nobody any more. */
	void (*drop)(void *context, const struct engine_child *child);
};

#endif
