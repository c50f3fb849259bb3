/* SPDX-License-Identifier: Apache-2.0 */
/* Children that processes of a VM fork while they are served, and who holds on to them. */
#ifndef VMSWAP_ENGINE_CHILD_H
#define VMSWAP_ENGINE_CHILD_H

#include <stdint.h>

#include "io/uffd.h"

/* A child that a process of a VM forked while it was served. */
struct engine_child {
	uint64_t tag;	 /* of the process, process_spec */
	uint32_t shard;	 /* each child has a userfaultfd a shard */
	uint32_t number; /* among all that this shard has ever had, predecessors' included */
};

/*
 * Where a shard reads messages to. A fork in it is of a child that was not given to keep() yet, as
 * far as anybody else knows: its parent has @tag, its number is @number and on.
 */
struct child_inbox {
	uint64_t tag;
	uint32_t number;
	struct uffd_inbox messages;
};

/*
 * Who outlives the engine holds the userfaultfds of children for a successor. Nobody else has them,
 * and a child whose userfaultfd is closed reads zeros where a page is out. On shard threads: must
 * not block.
 */
struct children_home {
	void *context;
	/* One a shard, in memory that outlives the engine. NULL: there is none. */
	struct child_inbox *inbox;
	/* Holds a duplicate of @uffd. -errno: it does not. NULL: there is nobody. */
	int (*keep)(void *context, const struct engine_child *child, int uffd);
	/* The child has ended, or needs nobody any more. */
	void (*drop)(void *context, const struct engine_child *child);
};

#endif
