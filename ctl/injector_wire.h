/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What worker and injector say to each other, over SOCK_SEQPACKET socket pairs. Both are the same
 * program (one forked the other), so the structs are the format.
 */
#ifndef VMSWAP_CTL_INJECTOR_WIRE_H
#define VMSWAP_CTL_INJECTOR_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/problem.h"
#include "engine/limits.h"

enum injector_operation {
	INJECTOR_BEGIN, /* stop the thread; the first request of a session */
	INJECTOR_ZAP,	/* or this one: stop, zap, let go, without a word in between */
	INJECTOR_CALL,
	INJECTOR_UFFDS,
	INJECTOR_CLOSE,
	INJECTOR_END,
};

struct injector_request {
	enum injector_operation operation;
	uint32_t count; /* UFFDS, CLOSE */
	pid_t pid;	/* BEGIN, ZAP */
	pid_t tid;
	int pidfd;	/* the worker's numbers; the injector gets its own beside the request */
	int uffd;	/* -1: none */
	int64_t number; /* CALL */
	uint64_t argument[6];
	int remote[SHARDS_MAX]; /* CLOSE */
	uint64_t address;	/* ZAP */
	uint64_t size_bytes;
};

struct injector_answer {
	int64_t result;
	uint64_t stopped_us; /* so far */
	uint32_t
		is_stopped; /* BEGIN, ZAP: the stop was made; else result and problem say why not */
	uint32_t is_late;   /* a call has not come back: this is the session's last answer */
	int remote[SHARDS_MAX]; /* UFFDS */
	struct problem problem;
};

/* Beside the first request: the injector's end of the session, pidfd and userfaultfd of the target.
 */
#define INJECTOR_FIRST_FDS 3u
static inline uint32_t injector_first_fds(const struct injector_request *first)
{
	return first->uffd < 0 ? INJECTOR_FIRST_FDS - 1 : INJECTOR_FIRST_FDS;
}

/* One message and the descriptors beside it. */
struct injector_message {
	void *bytes;
	size_t size_bytes;
	int *fds;
	uint32_t fd_count; /* at most SHARDS_MAX; when receiving: room for, then how many came */
};

/* Never sleeps. -EPIPE: the other end has gone; -EAGAIN: it does not read. */
int injector_send(int socket, const struct injector_message *message);
/* -EPIPE: the other end has gone; -ETIMEDOUT. */
int injector_receive(int socket, struct injector_message *message, uint64_t timeout_ms);

#endif
