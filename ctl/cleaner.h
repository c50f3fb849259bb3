/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives the space of freed slots back to the file system: at once, or gently in the background
 * (disable --slow-cleanup), because a storm of discards competes with what the guest does just
 * then.
 */
#ifndef VMSWAP_CTL_CLEANER_H
#define VMSWAP_CTL_CLEANER_H

struct cleaner;
struct engine;

/* Starts the background thread. -errno. */
int cleaner_new(struct engine *engine, struct cleaner **ret_cleaner);
/* What is left is left to the end of the store. NULL is fine. */
void cleaner_free(struct cleaner *cleaner);

/* Releases everything and ends a gentle phase. Blocks on the file system; worker threads. */
void cleaner_run(struct cleaner *cleaner);
/* The same if a gentle phase is on, else nothing. */
void cleaner_finish(struct cleaner *cleaner);
/* Begins a gentle phase: 64 MiB each 5 s. Any control thread. */
void cleaner_begin_slow(struct cleaner *cleaner);

#endif
