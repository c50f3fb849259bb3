/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a VM, the commands, and which command is legal in which state. The names are those
 * of crosvm's vmm-swap.
 *
 *   ready ──enable──► pending ──trim──► trim-in-progress ──► pending
 *                        └──swap-out──► swap-out-in-progress ──► active
 *   any of these ──disable──► swap-in-in-progress ──► ready
 *   failed: an operation went wrong; faults are served, enable tries again, disable gets out
 */
#ifndef VMSWAP_CTL_STATE_H
#define VMSWAP_CTL_STATE_H

#include <stdbool.h>

enum vm_state {
	STATE_READY,
	STATE_PENDING,
	STATE_TRIM_IN_PROGRESS,
	STATE_SWAP_OUT_IN_PROGRESS,
	STATE_ACTIVE,
	STATE_SWAP_IN_IN_PROGRESS,
	STATE_FAILED,
	STATE_COUNT,
};

enum command {
	COMMAND_ENABLE,
	COMMAND_TRIM,
	COMMAND_SWAP_OUT,
	COMMAND_DISABLE,
	COMMAND_ADD,
	COMMAND_REMOVE,
	COMMAND_DETACH,
	COMMAND_SCRUB,		/* changes no state */
	COMMAND_STATEFUL_COUNT, /* those above need a VM and obey the table */
	COMMAND_ATTACH = COMMAND_STATEFUL_COUNT,
	COMMAND_RECORD_START, /* of faults; in any state */
	COMMAND_RECORD_STOP,
	COMMAND_COLLECT, /* a process of the VM has died; nobody's command */
	COMMAND_COUNT,
};

enum verdict {
	VERDICT_ILLEGAL,
	VERDICT_RUN,
	VERDICT_ABORT, /* ends the operation that makes the state first, then runs */
	VERDICT_JOIN,  /* that operation is already running: the answer is its job */
};

const char *state_name(enum vm_state state);
/* False when no state has that name. */
bool state_from_name(const char *name, enum vm_state *ret_state);
const char *command_name(enum command command);

enum verdict state_verdict(enum vm_state state, enum command command);

/* What a VM shows while @command runs that was started in @state. */
enum vm_state state_during(enum vm_state state, enum command command);

/* How an operation ended. */
enum outcome {
	OUTCOME_DONE,
	OUTCOME_ABORTED, /* on request, in between */
	OUTCOME_REFUSED, /* before anything changed */
	OUTCOME_FAILED,
	OUTCOME_COUNT,
};

/*
 * The state after @command that was started in @before; @is_registered: the VM's faults are still
 * ours, so pages may be staged or out.
 */
enum vm_state state_after(
	enum vm_state before, enum command command, enum outcome outcome, bool is_registered);

#endif
