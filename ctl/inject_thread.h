/* SPDX-License-Identifier: Apache-2.0 */
/* Which thread of a process is to run our calls. Looks only; nothing is stopped. */
#ifndef VMSWAP_CTL_INJECT_THREAD_H
#define VMSWAP_CTL_INJECT_THREAD_H

#include <stdint.h>
#include <sys/types.h>

struct problem;

/* Threads tried for one injection. */
#define INJECT_THREADS_MAX 4u

struct inject_threads {
	pid_t tid[INJECT_THREADS_MAX]; /* best first */
	uint32_t count;
};

/*
 * The best threads of @pid. -EBUSY: one that was looked at is traced already; -EALREADY: by an
 * injector of vmswapd; -ESRCH: gone; -EAGAIN: none is suited at the moment (all in uninterruptible
 * sleep).
 */
int inject_thread_choose(pid_t pid, struct inject_threads *ret_threads, struct problem *problem);
/* Suits a thread that sleeps in system call @number (-1: runs); 0 is the worst. For tests. */
uint32_t inject_thread_score(long number, uint64_t second_argument);

#endif
