/* SPDX-License-Identifier: Apache-2.0 */
/* One injection, on a thread of the injector: see injector.c. */
#ifndef VMSWAP_CTL_INJECTOR_SESSION_H
#define VMSWAP_CTL_INJECTOR_SESSION_H

#include <stdint.h>

#include "ctl/injector_wire.h"
#include "ctl/tracee.h"

/* A worker that asks nothing for so long has lost the target. Between two requests lie
 * microseconds. */
#define INJECTOR_IDLE_MS 5000u

struct injector_session {
	/* set by the main thread before it starts */
	int socket; /* closed by the main thread, as are the next */
	int pidfd;  /* of the process that is meant */
	int uffd;   /* of its address space; -1: any will do */
	/* its thread only */
	struct injector_request request;
	struct tracee tracee;
	int unclaimed[SHARDS_MAX]; /* userfaultfds made there; whether they arrived is not known */
	uint32_t unclaimed_count;
};

/* Answers the first request and those that follow. When it returns the target is put back, or, if
 * its thread never stopped, is let go by the end of the calling thread. */
void injector_session_run(struct injector_session *session);

#endif
