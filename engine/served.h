/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptors a shard serves: coming, going, forked children. All on the owner thread. */
#ifndef VMSWAP_ENGINE_SERVED_H
#define VMSWAP_ENGINE_SERVED_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/spans.h"

struct command;
struct shard;
struct vm;

/* A process's descriptor as this shard serves it. */
struct served {
	struct vm *vm;	  /* NULL: free */
	uint32_t process; /* index in the VM; of the parent for a child */
	int uffd;
	uint64_t tag;		 /* of the process, or of the child's parent */
	bool is_child;		 /* forked while served; its descriptor is ours to close */
	uint32_t child_number;	 /* child.h */
	bool is_readable;	 /* messages may be there */
	bool is_polled;		 /* a multishot poll is armed */
	uint64_t message_ns;	 /* of the last message */
	bool is_dead;		 /* a call said so; control will take it away */
	bool is_replayed;	 /* replays of the VM may go on, into this process */
	struct command *leaving; /* the COMMAND_UNSERVE to answer once nothing refers to this */
	uint32_t fills;		 /* reads under way on behalf of this */
	struct spans spans;
};

/* COMMAND_SERVE: 0, or -ENOSPC when SERVED_MAX or PROCESSES_MAX is reached. */
int served_add(struct shard *shard, const struct command *command);
/* COMMAND_UNSERVE: the answer comes once no poll, no read and no leaving child refers to it. */
void served_leave(struct shard *shard, struct command *command);
/* Ends those that leave and are free by now. True when one ended. */
bool served_finish(struct shard *shard);
/* The descriptor of a child that @parent forked; owned from now on. -ENOSPC. */
int served_add_child(
	struct shard *shard, const struct served *parent, int uffd, uint32_t child_number);
/* COMMAND_SERVE_CHILD; -ESRCH: its parent is not served. */
int served_adopt_child(struct shard *shard, const struct command *command);
/* Lets go of children that are dead, or of all with COMMAND_FORGET_CHILDREN. */
void served_reap_children(struct shard *shard, struct vm *vm);
void served_forget_children(struct shard *shard, struct vm *vm);
/* The poll of served @index reported @result. */
void served_poll_done(struct shard *shard, uint32_t index, int32_t result, bool has_more);
/*
 * The cancellation of its poll ended with @result. An event that is being reported makes the kernel
 * refuse it (-EALREADY), and the poll goes on: it is cancelled again.
 */
void served_unpoll_done(struct shard *shard, uint32_t index, int32_t result);
/* One whose process maps @page, children last; NULL when there is none. */
struct served *served_of_page(const struct shard *shard, struct vm *vm, uint64_t page);
/* One whose process lives, whatever it maps; NULL when there is none. */
struct served *served_of_vm(const struct shard *shard, struct vm *vm);

#endif
