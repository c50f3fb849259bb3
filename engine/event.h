/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VMM does to its mappings, told by userfaultfd: discards, unmaps, moves, forks.
 *
 *   REMOVE  asked for with trust_discard only. A swapped page's slot is freed and the next touch
 *           reads zeros; a page in RAM needs nothing (a touch of a hole says MISSING). Zaps of our
 *           own raise it too: a chunk between stage and settle is zapped, and keeps its slots.
 *   UNMAP   the pages have no address there any more.
 *   REMAP   they have another one.
 *   FORK    the child gets a descriptor of its own and is served as its parent is, until the VM is
 *           unregistered. It cannot be zapped, so control must not stage pages while it lives.
 *           A worker that dies between the read of the message and event_keep_children(), the
 *           two calls that follow each other, loses the descriptor: the kernel hands it to nobody
 *           else and the child runs from the read on.
 */
#ifndef VMSWAP_ENGINE_EVENT_H
#define VMSWAP_ENGINE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

struct served;
struct shard;
struct uffd_message;

/* All but forks. Owner thread. */
void event_handle(struct shard *shard, struct served *served, const struct uffd_message *message);
/*
 * What was just read from @parent: descriptors of its children go where they outlive us (child.h),
 * before anything else is done. Bit i: message i is a fork, and its descriptor is kept. Owner
 * thread.
 */
uint64_t event_keep_children(struct shard *shard, const struct served *parent,
	const struct uffd_message *messages, uint32_t count);
/* A fork, in the order of the messages; @uffd is owned from now on. Owner thread. */
void event_forked(struct shard *shard, struct served *served, int uffd, bool is_kept);

#endif
