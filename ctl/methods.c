/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/methods.h"

#include <errno.h>
#include <string.h>

#include "ctl/call.h"
#include "ctl/debug.h"
#include "ctl/manager.h"
#include "ctl/methods_priv.h"
#include "ctl/peer.h"
#include "ctl/status.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"

struct method {
	const char *name;
	void (*handle)(struct manager *manager, struct call *call);
	bool is_debug; /* offered with --debug only */
	/* Last: who forgets it is told by the compiler (-Wmissing-field-initializers). */
	enum right right;
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
	{"daemon.ping", methods_daemon_ping, false, RIGHT_ANY},
	{"daemon.status", methods_daemon_status, false, RIGHT_ANY},
	{"daemon.upgrade", methods_daemon_upgrade, false, RIGHT_ADMIN},
	{"daemon.shutdown", methods_daemon_shutdown, false, RIGHT_ADMIN},
	{"vm.attach", methods_attach, false, RIGHT_ADMIN},
	{"vm.attach_self", methods_attach_self, false, RIGHT_SELF},
	{"vm.add", methods_vm_add, false, RIGHT_ADMIN},
	{"vm.remove", methods_vm_remove, false, RIGHT_ADMIN},
	{"vm.detach", methods_vm_detach, false, RIGHT_SELF},
	{"vm.list", methods_vm_list, false, RIGHT_READ},
	{"vm.status", methods_vm_status, false, RIGHT_READ},
	{"vm.enable", methods_vm_enable, false, RIGHT_ADMIN},
	{"vm.trim", methods_vm_trim, false, RIGHT_ADMIN},
	{"vm.swap_out", methods_vm_swap_out, false, RIGHT_ADMIN},
	{"vm.disable", methods_vm_disable, false, RIGHT_ADMIN},
	{"vm.scrub", methods_vm_scrub, false, RIGHT_ADMIN},
	{"vm.wait", methods_vm_wait, false, RIGHT_READ},
	{"job.list", methods_job_list, false, RIGHT_READ},
	{"job.cancel", methods_job_cancel, false, RIGHT_ADMIN},
	{"job.wait", methods_job_wait, false, RIGHT_READ},
	{"events.subscribe", methods_events_subscribe, false, RIGHT_READ},
	{"debug.record_start", methods_debug_record_start, true, RIGHT_ADMIN},
	{"debug.record_stop", methods_debug_record_stop, true, RIGHT_ADMIN},
};

static const struct method *find_method(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	}
	return NULL;
}

void methods_not_permitted(struct call *call, const char *why)
{
	const char *role = peer_role(call_peer(call));

	call_fail(call, CALL_REFUSED,
		json_pack("{s:s, s:s, s:s}", "reason", "not-permitted", "method", call_method(call),
			"role", role),
		"%s is not permitted in the role %s: %s", call_method(call), role, why);
}

void methods_handle(void *context, struct call *call)
{
	struct manager *manager = context;
	const struct method *method = find_method(call_method(call));

	if (!method)
		call_fail(call, CALL_METHOD_NOT_FOUND, NULL, "no method %s", call_method(call));
	else if (!peer_may(call_peer(call), method->right))
		methods_not_permitted(call, "ask root or the user of the daemon");
	else if (method->is_debug && !manager->config->is_debug)
		call_fail(call, CALL_METHOD_NOT_FOUND, NULL,
			"no method %s: a vmswapd started with --debug has it", call_method(call));
	else
		method->handle(manager, call);
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
