/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel gives the userfaultfd of a forked child to whoever reads of the fork, once, and the
 * child runs from then on. Nobody else has it, the child neither: with its last descriptor closed,
 * what is out reads as zeros in the child. The supervisor holds a copy. For what a worker has read
 * and not posted to it when it dies, and for the death of both, a process shares the worker's
 * descriptors, and nothing else, and outlives it:
 *
 *     worker                                      guard (vmswapd-guard)
 *
 *     fork_guard_start() ==== CLONE_FILES =====>  sleeps until the worker has ended
 *     a shard: reads to its board (child.h)           |
 *              posts to the supervisor                |
 *     dies at any of these ---------------------->    |
 *                  there is a supervisor:             posts what is on the boards, closes all
 *                                                     descriptors, the socket last, and ends
 *                  there is none:                     closes all but those of children, and waits:
 *     fork_guard_relieve() --- SIGKILL ----------->   for the worker that --recover leads to,
 *                                                     or for the last child's end
 *
 * The supervisor replaces a worker when nobody has the other end of its socket any more, and
 * --recover takes the state when nobody has its lock. A guard that somebody kills is not missed:
 * then there is nobody for these two cases.
 */
#ifndef VMSWAP_CTL_FORK_GUARD_H
#define VMSWAP_CTL_FORK_GUARD_H

#include <stdint.h>

struct child_board;
struct keeper;
struct state_files;

/*
 * @keeper is not NULL. Of a process with one thread, without guest memory and keys: what is mapped
 * is the guard's, too. ret_boards: one a shard, until the process ends. -errno.
 */
int fork_guard_start(struct keeper *keeper, uint32_t shard_count, struct child_board **ret_boards);
/*
 * Children of an earlier worker are served, or nobody needs them: its guard ends, and ours is named
 * in the state directory instead. Nothing to do is fine.
 */
void fork_guard_relieve(const struct state_files *files);
/* An orderly end: no descriptor outlives its close(). Nothing to do is fine. */
void fork_guard_stop(void);

#endif
