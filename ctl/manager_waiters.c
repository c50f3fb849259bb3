/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ctl/call.h"
#include "ctl/manager_priv.h"
#include "ctl/methods.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

static bool matches_job(const struct waiter *waiter, const void *context)
{
	const struct job *job = context;

	return (waiter->kind == WAIT_JOB || waiter->kind == WAIT_COMMAND) &&
	       waiter->job_id == job->id;
}

void manager_answer_job(struct manager *manager, const struct record *record, struct job *job)
{
	struct waiter waiter;

	ASSERT(job_is_over(job));
	while (waiter_take(&manager->waiters, matches_job, job, &waiter)) {
		if (waiter.kind == WAIT_JOB)
			call_reply(waiter.call, job_json(job));
		else
			methods_answer(waiter.call, record, job);
	}
}

/* In the state that is waited for, or in one that leads nowhere. */
static bool matches_state(const struct waiter *waiter, const void *context)
{
	const struct record *record = context;

	return waiter->kind == WAIT_STATE && strcmp(waiter->vm_name, record->name) == 0 &&
	       (waiter->state == record->state || record->state == STATE_FAILED);
}

void manager_answer_state(struct manager *manager, const struct record *record)
{
	struct waiter waiter;

	while (waiter_take(&manager->waiters, matches_state, record, &waiter)) {
		if (waiter.state == record->state)
			call_reply(waiter.call,
				json_pack("{s:s}", "state", state_name(record->state)));
		else
			call_fail(waiter.call, CALL_FAILED, NULL, "%s has failed: %s", record->name,
				record->failure);
	}
}

static bool matches_name(const struct waiter *waiter, const void *context)
{
	return waiter->kind == WAIT_STATE && strcmp(waiter->vm_name, context) == 0;
}

void manager_answer_gone(struct manager *manager, const char *vm_name)
{
	struct waiter waiter;

	while (waiter_take(&manager->waiters, matches_name, vm_name, &waiter))
		call_fail(
			waiter.call, CALL_NOT_FOUND, NULL, "%s is not attached any more", vm_name);
}

static bool matches_shutdown(const struct waiter *waiter, const void *context)
{
	(void)context;
	return waiter->kind == WAIT_SHUTDOWN;
}

/* @failure NULL: the daemon ends. */
void manager_answer_shutdown(struct manager *manager, const char *failure)
{
	struct waiter waiter;

	while (waiter_take(&manager->waiters, matches_shutdown, NULL, &waiter)) {
		if (failure)
			call_fail(waiter.call, CALL_FAILED, NULL, "%s", failure);
		else
			call_reply(waiter.call, json_object());
	}
}

static bool has_expired(const struct waiter *waiter, const void *context)
{
	const uint64_t *now_ns = context;

	return waiter->deadline_ns <= *now_ns;
}

void manager_expire_waiters(struct manager *manager)
{
	uint64_t now_ns = clock_ns();
	struct waiter waiter;

	while (waiter_take(&manager->waiters, has_expired, &now_ns, &waiter)) {
		if (waiter.kind == WAIT_STATE)
			call_fail(waiter.call, CALL_TIMEOUT, NULL, "%s is not %s yet",
				waiter.vm_name, state_name(waiter.state));
		else
			call_fail(waiter.call, CALL_TIMEOUT, NULL,
				"job %llu has not ended yet; it goes on",
				(unsigned long long)waiter.job_id);
	}
}
