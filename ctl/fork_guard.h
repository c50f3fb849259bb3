/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel gives the userfaultfd of a forked child to whoever reads of the fork, once, and the
 * child runs from then on. A worker that dies before it has posted it to the supervisor would take
 * it along, and the child would read zeros. So a process shares the worker's descriptors, and
 * nothing else, and outlives it for a moment:
 *
 *     worker                                      guard (vmswapd-guard)
 *
 *     fork_guard_start() ==== CLONE_FILES =====>  sleeps until the worker has ended
 *     a shard: read into its inbox (child.h)
 *              post to the supervisor                 |
 *              clear the inbox                        |
 *     dies at any of these ---------------------->  posts what is in the inboxes
 *                                                   closes all descriptors, the socket last
 *
 * The supervisor replaces a worker when nobody has the other end of its socket any more. A guard
 * that somebody kills is not missed: then a death between the read and the post loses the child.
 */
#ifndef VMSWAP_CTL_FORK_GUARD_H
#define VMSWAP_CTL_FORK_GUARD_H

#include <stdint.h>

struct child_inbox;
struct keeper;

/*
 * @keeper is not NULL. Of a process with one thread, without guest memory and keys: what is mapped
 * is the guard's, too. ret_inboxes: one a shard, until the process ends. -errno.
 */
int fork_guard_start(struct keeper *keeper, uint32_t shard_count, struct child_inbox **ret_inboxes);
/* An orderly end: no descriptor outlives its close(). Nothing to do is fine. */
void fork_guard_stop(void);

#endif
