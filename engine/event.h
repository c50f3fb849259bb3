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
 *           The kernel hands the descriptor to nobody else, and the child runs from the read on:
 *           what a worker has read and not kept yet when it dies is on the board (child.h).
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
 * Up to UFFD_BATCH_MAX messages of @parent. Descriptors of its children are where they outlive us
 * when this returns (child.h). Bit i of *ret_kept: message i is a fork, and its descriptor is kept.
 * How many messages, -errno. Owner thread.
 */
int event_read(struct shard *shard, const struct served *parent, struct uffd_message *ret_messages,
	uint64_t *ret_kept);
/* Message @index is a fork; in their order; @uffd is owned from now on. Owner thread. */
void event_forked(
	struct shard *shard, struct served *served, uint32_t index, int uffd, bool is_kept);

#endif
