/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/state.h"

#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"

static const char *const state_names[] = {
	[STATE_READY] = "ready",
	[STATE_PENDING] = "pending",
	[STATE_TRIM_IN_PROGRESS] = "trim-in-progress",
	[STATE_SWAP_OUT_IN_PROGRESS] = "swap-out-in-progress",
	[STATE_ACTIVE] = "active",
	[STATE_SWAP_IN_IN_PROGRESS] = "swap-in-in-progress",
	[STATE_FAILED] = "failed",
};
static_assert(ARRAY_SIZE(state_names) == STATE_COUNT, "every state has a name");

static const char *const command_names[] = {
	[COMMAND_ENABLE] = "enable",
	[COMMAND_TRIM] = "trim",
	[COMMAND_SWAP_OUT] = "swap-out",
	[COMMAND_DISABLE] = "disable",
	[COMMAND_ADD] = "add",
	[COMMAND_REMOVE] = "remove",
	[COMMAND_DETACH] = "detach",
	[COMMAND_SCRUB] = "scrub",
	[COMMAND_ATTACH] = "attach",
	[COMMAND_RECORD_START] = "record-start",
	[COMMAND_RECORD_STOP] = "record-stop",
	[COMMAND_COLLECT] = "collect",
};
static_assert(ARRAY_SIZE(command_names) == COMMAND_COUNT, "every command has a name");

#define NO   VERDICT_ILLEGAL
#define RUN  VERDICT_RUN
#define STOP VERDICT_ABORT
#define JOIN VERDICT_JOIN

/* clang-format off */
static const enum verdict verdicts[STATE_COUNT][COMMAND_STATEFUL_COUNT] = {
	/*                              enable trim swap-out disable add  remove detach scrub */
	[STATE_READY]                = { RUN,  NO,   NO,      RUN,   RUN, RUN,   RUN,   NO  },
	[STATE_PENDING]              = { RUN,  RUN,  RUN,     RUN,   RUN, RUN,   RUN,   RUN },
	[STATE_TRIM_IN_PROGRESS]     = { STOP, NO,   NO,      STOP,  RUN, RUN,   STOP,  RUN },
	[STATE_SWAP_OUT_IN_PROGRESS] = { STOP, NO,   NO,      STOP,  RUN, RUN,   STOP,  RUN },
	[STATE_ACTIVE]               = { RUN,  NO,   NO,      RUN,   RUN, RUN,   RUN,   RUN },
	[STATE_SWAP_IN_IN_PROGRESS]  = { STOP, NO,   NO,      JOIN,  RUN, RUN,   STOP,  NO  },
	[STATE_FAILED]               = { RUN,  NO,   NO,      RUN,   RUN, RUN,   RUN,   RUN },
};
/* clang-format on */

const char *state_name(enum vm_state state)
{
	ASSERT(state < STATE_COUNT);
	return state_names[state];
}

bool state_from_name(const char *name, enum vm_state *ret_state)
{
	for (unsigned int i = 0; i < STATE_COUNT; i++) {
		if (strcmp(state_names[i], name) == 0) {
			*ret_state = (enum vm_state)i;
			return true;
		}
	}
	return false;
}

const char *command_name(enum command command)
{
	ASSERT(command < COMMAND_COUNT);
	return command_names[command];
}

enum verdict state_verdict(enum vm_state state, enum command command)
{
	ASSERT(state < STATE_COUNT);
	ASSERT(command < COMMAND_STATEFUL_COUNT);
	return verdicts[state][command];
}

enum vm_state state_during(enum vm_state state, enum command command)
{
	ASSERT(state < STATE_COUNT);
	switch (command) {
	case COMMAND_TRIM: return STATE_TRIM_IN_PROGRESS;
	case COMMAND_SWAP_OUT: return STATE_SWAP_OUT_IN_PROGRESS;
	case COMMAND_DISABLE:
	case COMMAND_DETACH: return state == STATE_READY ? STATE_READY : STATE_SWAP_IN_IN_PROGRESS;
	case COMMAND_ENABLE: /* crosvm shows the old state while it enables */
	case COMMAND_ADD:
	case COMMAND_REMOVE:
	case COMMAND_SCRUB:
	case COMMAND_ATTACH:
	case COMMAND_RECORD_START:
	case COMMAND_RECORD_STOP:
	case COMMAND_COLLECT: return state;
	case COMMAND_COUNT: break;
	}
	UNREACHABLE();
}

static enum vm_state state_done(enum command command)
{
	switch (command) {
	case COMMAND_ENABLE:
	case COMMAND_TRIM: return STATE_PENDING;
	case COMMAND_SWAP_OUT: return STATE_ACTIVE;
	case COMMAND_DISABLE:
	case COMMAND_DETACH: return STATE_READY;
	case COMMAND_ADD:
	case COMMAND_REMOVE:
	case COMMAND_SCRUB:
	case COMMAND_ATTACH:
	case COMMAND_RECORD_START:
	case COMMAND_RECORD_STOP:
	case COMMAND_COLLECT:
	case COMMAND_COUNT: break;
	}
	UNREACHABLE();
}

enum vm_state state_after(
	enum vm_state before, enum command command, enum outcome outcome, bool is_registered)
{
	ASSERT(before < STATE_COUNT);
	if (command == COMMAND_SCRUB)
		return before;
	switch (outcome) {
	case OUTCOME_DONE: return state_done(command);
	case OUTCOME_ABORTED: return is_registered ? STATE_PENDING : STATE_READY;
	case OUTCOME_REFUSED: return before;
	case OUTCOME_FAILED: return STATE_FAILED;
	case OUTCOME_COUNT: break;
	}
	UNREACHABLE();
}
