/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/methods.h"

#include <errno.h>
#include <string.h>

#include "ctl/call.h"
#include "ctl/debug.h"
#include "ctl/keeper.h"
#include "ctl/manager.h"
#include "ctl/methods_priv.h"
#include "ctl/peer.h"
#include "ctl/status.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"

enum offer {
	OFFER_ALWAYS,
	OFFER_NORMAL, /* not in minimal mode */
	OFFER_DEBUG,  /* as OFFER_NORMAL, with --debug */
};

struct method {
	const char *name;
	void (*handle)(struct manager *manager, struct call *call);
	enum offer offer;
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
	{"daemon.ping", methods_daemon_ping, OFFER_ALWAYS, RIGHT_ANY},
	{"daemon.status", methods_daemon_status, OFFER_ALWAYS, RIGHT_ANY},
	{"daemon.upgrade", methods_daemon_upgrade, OFFER_ALWAYS, RIGHT_ADMIN},
	{"daemon.shutdown", methods_daemon_shutdown, OFFER_ALWAYS, RIGHT_ADMIN},
	{"vm.attach", methods_attach, OFFER_NORMAL, RIGHT_ADMIN},
	{"vm.attach_self", methods_attach_self, OFFER_NORMAL, RIGHT_SELF},
	{"vm.add", methods_vm_add, OFFER_NORMAL, RIGHT_ADMIN},
	{"vm.remove", methods_vm_remove, OFFER_NORMAL, RIGHT_ADMIN},
	{"vm.detach", methods_vm_detach, OFFER_ALWAYS, RIGHT_SELF},
	{"vm.list", methods_vm_list, OFFER_ALWAYS, RIGHT_READ},
	{"vm.status", methods_vm_status, OFFER_ALWAYS, RIGHT_READ},
	{"vm.enable", methods_vm_enable, OFFER_NORMAL, RIGHT_ADMIN},
	{"vm.trim", methods_vm_trim, OFFER_NORMAL, RIGHT_ADMIN},
	{"vm.swap_out", methods_vm_swap_out, OFFER_NORMAL, RIGHT_ADMIN},
	{"vm.disable", methods_vm_disable, OFFER_ALWAYS, RIGHT_ADMIN},
	{"vm.scrub", methods_vm_scrub, OFFER_NORMAL, RIGHT_ADMIN},
	{"vm.wait", methods_vm_wait, OFFER_ALWAYS, RIGHT_READ},
	{"job.list", methods_job_list, OFFER_ALWAYS, RIGHT_READ},
	{"job.cancel", methods_job_cancel, OFFER_ALWAYS, RIGHT_ADMIN},
	{"job.wait", methods_job_wait, OFFER_ALWAYS, RIGHT_READ},
	{"events.subscribe", methods_events_subscribe, OFFER_ALWAYS, RIGHT_READ},
	{"debug.record_start", methods_debug_record_start, OFFER_DEBUG, RIGHT_ADMIN},
	{"debug.record_stop", methods_debug_record_stop, OFFER_DEBUG, RIGHT_ADMIN},
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

static void refuse_in_minimal_mode(struct manager *manager, struct call *call)
{
	struct keeper_info info;

	keeper_info(manager->keeper, &info);
	call_fail(call, CALL_REFUSED,
		json_pack("{s:s, s:s}", "reason", "minimal-mode", "method", call_method(call)),
		"%s is not offered in minimal mode: the worker died again and again (%u restarts), "
		"so "
		"this one serves faults and brings memory back, no more. Its log says what it died "
		"of; then vmswapctl upgrade, or SIGUSR1 to the supervisor, process %d",
		call_method(call), info.restarts, (int)info.supervisor_pid);
}

void methods_handle(void *context, struct call *call)
{
	struct manager *manager = context;
	const struct method *method = find_method(call_method(call));

	if (!method)
		call_fail(call, CALL_METHOD_NOT_FOUND, NULL, "no method %s", call_method(call));
	else if (!peer_may(call_peer(call), method->right))
		methods_not_permitted(call, "ask root or the user of the daemon");
	else if (manager->config->is_minimal && method->offer != OFFER_ALWAYS)
		refuse_in_minimal_mode(manager, call);
	else if (method->offer == OFFER_DEBUG && !manager->config->is_debug)
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
