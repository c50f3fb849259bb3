/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are answered later: when a job ends, a VM gets into a state, or the daemon may end. */
#ifndef VMSWAP_CTL_WAITER_H
#define VMSWAP_CTL_WAITER_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/job.h"
#include "ctl/state.h"

struct call;

enum waiter_kind {
	WAIT_JOB,      /* job.wait: the answer is the job */
	WAIT_COMMAND,  /* attach, add, remove, detach: the answer is the command's */
	WAIT_STATE,    /* vm.wait */
	WAIT_SHUTDOWN, /* daemon.shutdown */
};

struct waiter {
	enum waiter_kind kind;
	struct call *call; /* owned */
	uint64_t job_id;
	char vm_name[VM_NAME_BYTES];
	enum vm_state state;
	uint64_t deadline_ns; /* UINT64_MAX: none */
};

struct waiter_list {
	struct waiter *item;
	uint32_t count;
	uint32_t capacity;
};

/* -ENOMEM: the call is still the caller's. */
int waiter_add(struct waiter_list *list, const struct waiter *waiter);
/* Takes out one that matches; false when none is left. */
typedef bool waiter_match(const struct waiter *waiter, const void *context);
bool waiter_take(struct waiter_list *list, waiter_match *match, const void *context,
	struct waiter *ret_waiter);
/* The earliest deadline, UINT64_MAX when there is none. */
uint64_t waiter_deadline(const struct waiter_list *list);
void waiter_free(struct waiter_list *list);

#endif
