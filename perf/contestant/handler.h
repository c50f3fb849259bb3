/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handler: a process of its own that serves the faults of a contestant's client. It is forked
 * from the benchmark, so it has all that the contestant had opened; a socket tells it what to do:
 *
 *   handler_start() ──fork──► body: sets up, handler_ready(), serves
 *   handler_call()  ─command─►      between faults: handler_answer()
 *   handler_stop()  ──kill──►
 */
#ifndef VMSWAP_PERF_CONTESTANT_HANDLER_H
#define VMSWAP_PERF_CONTESTANT_HANDLER_H

#include <stdint.h>
#include <sys/types.h>

#include "perf/contestant/contestant.h"

struct handler {
	pid_t pid;  /* 0: there is none */
	int socket; /* the benchmark's end */
};

struct handler_answer {
	int result; /* 0 or -errno */
	uint64_t pages;
	uint64_t elapsed_ns;
};

/* Runs in the handler's process, not pinned yet; when it returns, the process ends. */
typedef void handler_body(const struct contestant *self, int socket);

/* Returns when the handler is ready. On error contestant_fail() has said why. */
int handler_start(struct contestant *self, handler_body *body, struct handler *ret_handler);
/* One that was not started is fine. */
void handler_stop(struct handler *handler);
/* Sends @command and waits for its answer; -EPIPE: the handler died. */
int handler_call(
	const struct handler *handler, uint32_t command, struct handler_answer *ret_answer);

/* The rest is for bodies. */

/* Says how the set-up went, once. */
void handler_ready(int socket, int result);
/* -EPIPE: the benchmark is gone. */
int handler_next(int socket, uint32_t *ret_command);
void handler_answer(int socket, const struct handler_answer *answer);
/*
 * Ends the process because @call failed. Its client would wait for ever and is killed, which the
 * benchmark notices. -ESRCH is the client's own end and no failure.
 */
_Noreturn void handler_give_up(const struct contestant *self, const char *call, int error);

#endif
