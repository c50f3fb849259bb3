/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/state.h"

#include <assert.h>
#include <criterion/criterion.h>

#include "queue/base/bits.h"

/* One row for each state and command, in words of the protocol's table in ctl/README.md. */
struct row {
	enum vm_state state;
	enum command command;
	enum verdict verdict;
};

static const struct row rows[] = {
	{STATE_READY, COMMAND_ENABLE, VERDICT_RUN},
	{STATE_READY, COMMAND_TRIM, VERDICT_ILLEGAL},
	{STATE_READY, COMMAND_SWAP_OUT, VERDICT_ILLEGAL},
	{STATE_READY, COMMAND_DISABLE, VERDICT_RUN},
	{STATE_READY, COMMAND_ADD, VERDICT_RUN},
	{STATE_READY, COMMAND_REMOVE, VERDICT_RUN},
	{STATE_READY, COMMAND_DETACH, VERDICT_RUN},
	{STATE_READY, COMMAND_SCRUB, VERDICT_ILLEGAL},
	{STATE_PENDING, COMMAND_ENABLE, VERDICT_RUN},
	{STATE_PENDING, COMMAND_TRIM, VERDICT_RUN},
	{STATE_PENDING, COMMAND_SWAP_OUT, VERDICT_RUN},
	{STATE_PENDING, COMMAND_DISABLE, VERDICT_RUN},
	{STATE_PENDING, COMMAND_ADD, VERDICT_RUN},
	{STATE_PENDING, COMMAND_REMOVE, VERDICT_RUN},
	{STATE_PENDING, COMMAND_DETACH, VERDICT_RUN},
	{STATE_PENDING, COMMAND_SCRUB, VERDICT_RUN},
	{STATE_TRIM_IN_PROGRESS, COMMAND_ENABLE, VERDICT_ABORT},
	{STATE_TRIM_IN_PROGRESS, COMMAND_TRIM, VERDICT_ILLEGAL},
	{STATE_TRIM_IN_PROGRESS, COMMAND_SWAP_OUT, VERDICT_ILLEGAL},
	{STATE_TRIM_IN_PROGRESS, COMMAND_DISABLE, VERDICT_ABORT},
	{STATE_TRIM_IN_PROGRESS, COMMAND_ADD, VERDICT_RUN},
	{STATE_TRIM_IN_PROGRESS, COMMAND_REMOVE, VERDICT_RUN},
	{STATE_TRIM_IN_PROGRESS, COMMAND_DETACH, VERDICT_ABORT},
	{STATE_TRIM_IN_PROGRESS, COMMAND_SCRUB, VERDICT_RUN},
	{STATE_SWAP_OUT_IN_PROGRESS, COMMAND_ENABLE, VERDICT_ABORT},
	{STATE_SWAP_OUT_IN_PROGRESS, COMMAND_TRIM, VERDICT_ILLEGAL},
	{STATE_SWAP_OUT_IN_PROGRESS, COMMAND_SWAP_OUT, VERDICT_ILLEGAL},
	{STATE_SWAP_OUT_IN_PROGRESS, COMMAND_DISABLE, VERDICT_ABORT},
	{STATE_SWAP_OUT_IN_PROGRESS, COMMAND_ADD, VERDICT_RUN},
	{STATE_SWAP_OUT_IN_PROGRESS, COMMAND_REMOVE, VERDICT_RUN},
	{STATE_SWAP_OUT_IN_PROGRESS, COMMAND_DETACH, VERDICT_ABORT},
	{STATE_SWAP_OUT_IN_PROGRESS, COMMAND_SCRUB, VERDICT_RUN},
	{STATE_ACTIVE, COMMAND_ENABLE, VERDICT_RUN},
	{STATE_ACTIVE, COMMAND_TRIM, VERDICT_ILLEGAL},
	{STATE_ACTIVE, COMMAND_SWAP_OUT, VERDICT_ILLEGAL},
	{STATE_ACTIVE, COMMAND_DISABLE, VERDICT_RUN},
	{STATE_ACTIVE, COMMAND_ADD, VERDICT_RUN},
	{STATE_ACTIVE, COMMAND_REMOVE, VERDICT_RUN},
	{STATE_ACTIVE, COMMAND_DETACH, VERDICT_RUN},
	{STATE_ACTIVE, COMMAND_SCRUB, VERDICT_RUN},
	{STATE_SWAP_IN_IN_PROGRESS, COMMAND_ENABLE, VERDICT_ABORT},
	{STATE_SWAP_IN_IN_PROGRESS, COMMAND_TRIM, VERDICT_ILLEGAL},
	{STATE_SWAP_IN_IN_PROGRESS, COMMAND_SWAP_OUT, VERDICT_ILLEGAL},
	{STATE_SWAP_IN_IN_PROGRESS, COMMAND_DISABLE, VERDICT_JOIN},
	{STATE_SWAP_IN_IN_PROGRESS, COMMAND_ADD, VERDICT_RUN},
	{STATE_SWAP_IN_IN_PROGRESS, COMMAND_REMOVE, VERDICT_RUN},
	{STATE_SWAP_IN_IN_PROGRESS, COMMAND_DETACH, VERDICT_ABORT},
	{STATE_SWAP_IN_IN_PROGRESS, COMMAND_SCRUB, VERDICT_ILLEGAL},
	{STATE_FAILED, COMMAND_ENABLE, VERDICT_RUN},
	{STATE_FAILED, COMMAND_TRIM, VERDICT_ILLEGAL},
	{STATE_FAILED, COMMAND_SWAP_OUT, VERDICT_ILLEGAL},
	{STATE_FAILED, COMMAND_DISABLE, VERDICT_RUN},
	{STATE_FAILED, COMMAND_ADD, VERDICT_RUN},
	{STATE_FAILED, COMMAND_REMOVE, VERDICT_RUN},
	{STATE_FAILED, COMMAND_DETACH, VERDICT_RUN},
	{STATE_FAILED, COMMAND_SCRUB, VERDICT_RUN},
};
static_assert(ARRAY_SIZE(rows) == (size_t)STATE_COUNT * (size_t)COMMAND_STATEFUL_COUNT,
	"a row for each state and command");

Test(state, every_command_is_judged_in_every_state)
{
	bool seen[STATE_COUNT][COMMAND_STATEFUL_COUNT] = {{false}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		enum verdict verdict = state_verdict(rows[i].state, rows[i].command);

		cr_expect_eq(verdict, rows[i].verdict, "%s in %s: %d",
			command_name(rows[i].command), state_name(rows[i].state), (int)verdict);
		cr_expect(!seen[rows[i].state][rows[i].command], "row %zu is there twice", i);
		seen[rows[i].state][rows[i].command] = true;
	}
}

Test(state, a_name_leads_back_to_its_state)
{
	for (unsigned int i = 0; i < STATE_COUNT; i++) {
		enum vm_state state = STATE_COUNT;

		bool is_known = state_from_name(state_name((enum vm_state)i), &state);

		cr_expect(is_known);
		cr_expect_eq(state, (enum vm_state)i);
	}
}

Test(state, an_unknown_name_is_no_state)
{
	enum vm_state state = STATE_ACTIVE;

	bool is_known = state_from_name("Ready", &state);

	cr_expect(!is_known);
	cr_expect_eq(state, STATE_ACTIVE, "the output is written on success only");
}

Test(state, enable_shows_the_old_state_while_it_runs)
{
	cr_expect_eq(state_during(STATE_READY, COMMAND_ENABLE), STATE_READY);
	cr_expect_eq(state_during(STATE_ACTIVE, COMMAND_ENABLE), STATE_ACTIVE);
}

Test(state, the_long_operations_show_themselves)
{
	cr_expect_eq(state_during(STATE_PENDING, COMMAND_TRIM), STATE_TRIM_IN_PROGRESS);
	cr_expect_eq(state_during(STATE_PENDING, COMMAND_SWAP_OUT), STATE_SWAP_OUT_IN_PROGRESS);
	cr_expect_eq(state_during(STATE_FAILED, COMMAND_DISABLE), STATE_SWAP_IN_IN_PROGRESS);
	cr_expect_eq(state_during(STATE_ACTIVE, COMMAND_DETACH), STATE_SWAP_IN_IN_PROGRESS);
}

Test(state, disable_of_a_ready_vm_brings_nothing_back)
{
	cr_expect_eq(state_during(STATE_READY, COMMAND_DISABLE), STATE_READY);
}

Test(state, an_operation_that_is_done_leads_where_the_table_says)
{
	cr_expect_eq(state_after(STATE_READY, COMMAND_ENABLE, OUTCOME_DONE, true), STATE_PENDING);
	cr_expect_eq(state_after(STATE_PENDING, COMMAND_TRIM, OUTCOME_DONE, true), STATE_PENDING);
	cr_expect_eq(
		state_after(STATE_PENDING, COMMAND_SWAP_OUT, OUTCOME_DONE, true), STATE_ACTIVE);
	cr_expect_eq(state_after(STATE_ACTIVE, COMMAND_DISABLE, OUTCOME_DONE, false), STATE_READY);
}

Test(state, a_scrub_changes_nothing_however_it_ends)
{
	for (unsigned int i = 0; i < STATE_COUNT; i++) {
		cr_expect_eq(state_during((enum vm_state)i, COMMAND_SCRUB), (enum vm_state)i);
		for (unsigned int outcome = 0; outcome < OUTCOME_COUNT; outcome++)
			cr_expect_eq(state_after((enum vm_state)i, COMMAND_SCRUB,
					     (enum outcome)outcome, true),
				(enum vm_state)i);
	}
}

Test(state, a_refused_operation_leaves_the_state_as_it_was)
{
	for (unsigned int i = 0; i < STATE_COUNT; i++)
		cr_expect_eq(state_after((enum vm_state)i, COMMAND_ENABLE, OUTCOME_REFUSED, true),
			(enum vm_state)i);
}

Test(state, an_aborted_operation_leaves_pending_while_faults_are_ours)
{
	cr_expect_eq(
		state_after(STATE_ACTIVE, COMMAND_DISABLE, OUTCOME_ABORTED, true), STATE_PENDING);
	cr_expect_eq(
		state_after(STATE_PENDING, COMMAND_SWAP_OUT, OUTCOME_ABORTED, true), STATE_PENDING);
}

Test(state, an_enable_aborted_before_it_took_the_faults_leaves_ready)
{
	cr_expect_eq(state_after(STATE_READY, COMMAND_ENABLE, OUTCOME_ABORTED, false), STATE_READY);
}

Test(state, every_failure_leads_to_failed)
{
	for (unsigned int i = 0; i <= COMMAND_DISABLE; i++)
		cr_expect_eq(state_after(STATE_PENDING, (enum command)i, OUTCOME_FAILED, true),
			STATE_FAILED);
}
