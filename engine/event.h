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
 */
#ifndef VMSWAP_ENGINE_EVENT_H
#define VMSWAP_ENGINE_EVENT_H

struct served;
struct shard;
struct uffd_message;

/* Owner thread. */
void event_handle(struct shard *shard, struct served *served, const struct uffd_message *message);

#endif
