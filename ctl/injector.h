/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The injector: a process of its own that does all tracing, so that the end of the daemon, at any
 * instant, harms no target. Theory: injector.c.
 */
#ifndef VMSWAP_CTL_INJECTOR_H
#define VMSWAP_CTL_INJECTOR_H

#include <stdbool.h>
#include <sys/types.h>

struct injector_request;
struct problem;

/* The name of its process, as the kernel shows it (comm). */
#define INJECTOR_NAME "vmswapd-inject"

/*
 * Forks the injector. The caller has one thread yet, and every right that tracing needs, which it
 * may give up afterwards. Once a process; a child that was forked starts its own.
 */
int injector_start(struct problem *problem);
/*
 * Lets it lock its memory and waits until it is ready, some 10 ms. Once, after injector_start() and
 * before anything is asked of it; on errors there is none. -ESRCH: none was started.
 */
int injector_await(struct problem *problem);
/*
 * Lets it finish what it does and end; waits a second at most: one that waits for a late call of a
 * target stays behind.
 */
void injector_stop(void);

/* Of the process that traces for this one: the caller's own pid when no injector was started. */
pid_t injector_pid(void);
/* False once it has died. Nothing starts it again: a process with threads must not fork. */
bool injector_is_alive(void);

/* Begins a session: a socket that the answers to @first and to further requests come from, or
 * -errno. -EOWNERDEAD: the injector has died. Any thread. */
int injector_open(const struct injector_request *first, struct problem *problem);

#endif
