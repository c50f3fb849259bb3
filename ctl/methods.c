/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/methods.h"

#include <errno.h>
#include <string.h>

#include "ctl/call.h"
#include "ctl/debug.h"
#include "ctl/manager.h"
#include "ctl/methods_priv.h"
#include "ctl/status.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"

struct method {
	const char *name;
	void (*handle)(struct manager *manager, struct call *call);
	bool is_debug; /* offered with --debug only */
};

/* False with the call answered. */
bool methods_add_waiter(struct manager *manager, const struct waiter *waiter)
{
	if (waiter_add(&manager->waiters, waiter) == 0)
		return true;
	call_fail(waiter->call, CALL_INTERNAL_ERROR, NULL, "no memory to wait");
	return false;
}

uint64_t methods_deadline(json_int_t timeout_ms)
{
	const uint64_t now_ns = clock_ns();

	if (timeout_ms < 0 || (uint64_t)timeout_ms > (UINT64_MAX - now_ns) / NS_PER_MS)
		return UINT64_MAX;
	return now_ns + (uint64_t)timeout_ms * NS_PER_MS;
}

static const struct method methods[] = {
	{"daemon.ping", methods_daemon_ping, false},
	{"daemon.status", methods_daemon_status, false},
	{"daemon.upgrade", methods_daemon_upgrade, false},
	{"daemon.shutdown", methods_daemon_shutdown, false},
	{"vm.attach", methods_attach, false},
	{"vm.attach_self", methods_attach_self, false},
	{"vm.add", methods_vm_add, false},
	{"vm.remove", methods_vm_remove, false},
	{"vm.detach", methods_vm_detach, false},
	{"vm.list", methods_vm_list, false},
	{"vm.status", methods_vm_status, false},
	{"vm.enable", methods_vm_enable, false},
	{"vm.trim", methods_vm_trim, false},
	{"vm.swap_out", methods_vm_swap_out, false},
	{"vm.disable", methods_vm_disable, false},
	{"vm.scrub", methods_vm_scrub, false},
	{"vm.wait", methods_vm_wait, false},
	{"job.list", methods_job_list, false},
	{"job.cancel", methods_job_cancel, false},
	{"job.wait", methods_job_wait, false},
	{"events.subscribe", methods_events_subscribe, false},
	{"debug.record_start", methods_debug_record_start, true},
	{"debug.record_stop", methods_debug_record_stop, true},
};

void methods_handle(void *context, struct call *call)
{
	struct manager *manager = context;

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(methods[i].name, call_method(call)) != 0)
			continue;
		if (methods[i].is_debug && !manager->config->is_debug)
			call_fail(call, CALL_METHOD_NOT_FOUND, NULL,
				"no method %s: a vmswapd started with --debug has it",
				call_method(call));
		else
			methods[i].handle(manager, call);
		return;
	}
	call_fail(call, CALL_METHOD_NOT_FOUND, NULL, "no method %s", call_method(call));
}

static json_t *refusal_json(const struct job *job)
{
	const struct job_result *result = &job->result;
	json_t *data = json_pack("{s:s}", "reason", result->problem.reason);

	if (strcmp(result->problem.reason, "other-mappers") == 0)
		(void)json_object_set_new(data, "mappers",
			status_mappers_json(result->mappers, result->mapper_count));
	return data;
}

static bool is_about_state(const struct problem *problem)
{
	return strcmp(problem->reason, DEBUG_IS_RECORDED) == 0 ||
	       strcmp(problem->reason, DEBUG_IS_NOT_RECORDED) == 0;
}

static void answer_failure(struct call *call, const struct record *record, const struct job *job)
{
	const struct problem *problem = &job->result.problem;

	if (job->result.outcome == OUTCOME_ABORTED)
		call_fail(call, CALL_FAILED, NULL, "the request was aborted");
	else if (problem->error == -ESRCH || strcmp(problem->reason, "not-attached") == 0)
		call_fail(call, CALL_NOT_FOUND, NULL, "%s", problem->text);
	else if (is_about_state(problem))
		call_fail(call, CALL_ILLEGAL_STATE, methods_state_json(record, call), "%s",
			problem->text);
	else if (job->result.outcome == OUTCOME_REFUSED && job->command != COMMAND_DETACH)
		call_fail(call, CALL_REFUSED, refusal_json(job), "%s", problem->text);
	else
		call_fail(call, CALL_FAILED,
			json_pack(
				"{s:i, s:s}", "errno", -problem->error, "reason", problem->reason),
			"%s", problem->text);
}

static json_t *recorded_json(const struct job *job)
{
	return json_pack("{s:I, s:I, s:s}", "entries", (json_int_t)job->result.recorded, "dropped",
		(json_int_t)job->result.dropped, "path", job->request.path);
}

void methods_answer(struct call *call, const struct record *record, const struct job *job)
{
	ASSERT(job_is_over(job));
	if (job->state != JOB_DONE)
		answer_failure(call, record, job);
	else if (job->command == COMMAND_ATTACH)
		call_reply(call, status_attached_json(record));
	else if (job->command == COMMAND_RECORD_STOP)
		call_reply(call, recorded_json(job));
	else
		call_reply(call, json_object());
}
