/* SPDX-License-Identifier: Apache-2.0 */
/* vm.*, but for the attaching ones. */
#include <stdio.h>

#include "ctl/call.h"
#include "ctl/manager.h"
#include "ctl/methods_priv.h"
#include "ctl/params.h"
#include "ctl/peer.h"
#include "ctl/status.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

/* A tenth of what a disk reads, about: faults do not notice. */
#define SCRUB_RATE_BYTES (64 * MIB)

/* Attaching ones are nobody's yet. */
struct record *methods_find_vm(struct manager *manager, struct call *call, const char *name)
{
	struct record *record = manager_find(manager, name);

	if (record && record->phase == RECORD_ATTACHED)
		return record;
	if (record && record->phase == RECORD_LEAVING)
		call_fail(call, CALL_NOT_FOUND, NULL, "%s is just being detached", name);
	else
		call_fail(call, CALL_NOT_FOUND, NULL, "no VM is named %s", name);
	return NULL;
}

json_t *methods_state_json(const struct record *record, const struct call *call)
{
	return json_pack(
		"{s:s, s:s}", "state", state_name(record->state), "method", call_method(call));
}

/* False with the call answered. */
static bool may_run(
	struct record *record, struct call *call, enum command command, enum verdict *ret_verdict)
{
	const char *what;
	json_t *data;

	*ret_verdict = manager_verdict(record, command, &what);
	if (*ret_verdict != VERDICT_ILLEGAL)
		return true;
	data = methods_state_json(record, call);
	if (what)
		call_fail(call, CALL_ILLEGAL_STATE, data,
			"%s is not legal in state %s: %s in progress", call_method(call),
			state_name(record->state), what);
	else
		call_fail(call, CALL_ILLEGAL_STATE, data, "%s is not legal in state %s",
			call_method(call), state_name(record->state));
	return false;
}

struct job *methods_new_job(
	struct manager *manager, struct record *record, struct call *call, enum command command)
{
	struct job *job = manager_new_job(manager, record->name, command);

	if (!job)
		call_fail(call, CALL_BUSY, NULL, "too many jobs, or no memory for one more");
	return job;
}

void methods_wait_for_command(
	struct manager *manager, struct call *call, const struct job *job, json_int_t timeout_ms)
{
	struct waiter waiter = {
		.kind = WAIT_COMMAND,
		.call = call,
		.job_id = job->id,
		.deadline_ns = methods_deadline(timeout_ms),
	};

	(void)methods_add_waiter(manager, &waiter);
}

void methods_vm_list(struct manager *manager, struct call *call)
{
	json_t *vms;

	if (!params_unpack(call, "{}"))
		return;
	vms = json_array();
	for (uint32_t i = 0; i < manager->record_count; i++) {
		if (manager->record[i]->phase == RECORD_ATTACHED)
			(void)json_array_append_new(vms, status_brief_json(manager->record[i]));
	}
	call_reply(call, json_pack("{s:o}", "vms", vms));
}

void methods_vm_status(struct manager *manager, struct call *call)
{
	struct record *record;
	const char *name;

	if (!params_unpack(call, "{s:s}", "vm", &name))
		return;
	record = methods_find_vm(manager, call, name);
	if (record)
		call_reply(call, status_json(record, manager->config->shard_count));
}

/* How a disable is to be done. */
struct disable_options {
	int slow_cleanup;
	int poison_unreadable;
};

/* enable, trim, swap-out, disable: answered with the job. */
static void start_command(struct manager *manager, struct call *call, struct record *record,
	enum command command, const struct disable_options *options)
{
	enum verdict verdict;
	struct job *job;

	if (!may_run(record, call, command, &verdict))
		return;
	job = verdict == VERDICT_JOIN ? (record->next ? record->next : record->running)
				      : methods_new_job(manager, record, call, command);
	if (!job)
		return;
	atomic_store_explicit(
		&job->slow_cleanup, options && options->slow_cleanup, memory_order_relaxed);
	if (options && options->poison_unreadable)
		atomic_store_explicit(&job->gives_up, true, memory_order_relaxed);
	if (verdict != VERDICT_JOIN)
		manager_start(manager, record, job);
	call_reply(call, json_pack("{s:I}", "job", (json_int_t)job->id));
}

static void vm_command(struct manager *manager, struct call *call, enum command command)
{
	struct record *record;
	const char *name;

	if (!params_unpack(call, "{s:s}", "vm", &name))
		return;
	record = methods_find_vm(manager, call, name);
	if (record)
		start_command(manager, call, record, command, NULL);
}

void methods_vm_enable(struct manager *manager, struct call *call)
{
	vm_command(manager, call, COMMAND_ENABLE);
}

void methods_vm_trim(struct manager *manager, struct call *call)
{
	vm_command(manager, call, COMMAND_TRIM);
}

void methods_vm_swap_out(struct manager *manager, struct call *call)
{
	vm_command(manager, call, COMMAND_SWAP_OUT);
}

void methods_vm_disable(struct manager *manager, struct call *call)
{
	struct record *record;
	const char *name;
	struct disable_options options = {0};

	if (!params_unpack(call, "{s:s, s?b, s?b}", "vm", &name, "slow_cleanup",
		    &options.slow_cleanup, "poison_unreadable", &options.poison_unreadable))
		return;
	record = methods_find_vm(manager, call, name);
	if (record)
		start_command(manager, call, record, COMMAND_DISABLE, &options);
}

void methods_vm_scrub(struct manager *manager, struct call *call)
{
	json_int_t rate_bytes = SCRUB_RATE_BYTES;
	struct record *record;
	enum verdict verdict;
	const char *name;
	struct job *job;

	if (!params_unpack(call, "{s:s, s?I}", "vm", &name, "rate_bytes", &rate_bytes))
		return;
	if (rate_bytes < 1) {
		call_fail(call, CALL_INVALID_PARAMS, NULL, "rate_bytes: at least 1");
		return;
	}
	record = methods_find_vm(manager, call, name);
	if (!record || !may_run(record, call, COMMAND_SCRUB, &verdict))
		return;
	if (verdict == VERDICT_JOIN) {
		job = record->next ? record->next : record->running;
	} else {
		job = methods_new_job(manager, record, call, COMMAND_SCRUB);
		if (!job)
			return;
		job->request.rate_bytes = (uint64_t)rate_bytes;
		manager_start(manager, record, job);
	}
	call_reply(call, json_pack("{s:I}", "job", (json_int_t)job->id));
}

/* add and remove: answered when done. */
static void change_processes(struct manager *manager, struct call *call, enum command command)
{
	struct record *record;
	enum verdict verdict;
	const char *name;
	json_int_t pid;
	struct job *job;

	if (!params_unpack(call, "{s:s, s:I}", "vm", &name, "pid", &pid) ||
		!params_check_pid(call, pid))
		return;
	record = methods_find_vm(manager, call, name);
	if (!record || !may_run(record, call, command, &verdict))
		return;
	if (record->short_count >= RECORD_SHORT_MAX) {
		call_fail(call, CALL_BUSY, NULL, "too many processes of %s join or leave", name);
		return;
	}
	job = methods_new_job(manager, record, call, command);
	if (!job)
		return;
	job->request.pids[0] = (pid_t)pid;
	job->request.pid_count = 1;
	job->request.caller = *call_peer(call);
	methods_wait_for_command(manager, call, job, -1);
	manager_start(manager, record, job);
}

void methods_vm_add(struct manager *manager, struct call *call)
{
	change_processes(manager, call, COMMAND_ADD);
}

void methods_vm_remove(struct manager *manager, struct call *call)
{
	change_processes(manager, call, COMMAND_REMOVE);
}

/* False with the call answered. Administrators have a hand in everything. */
static bool is_of_caller(const struct record *record, struct call *call)
{
	const struct peer *peer = call_peer(call);

	if (peer_may(peer, RIGHT_ADMIN) || record->owner == peer->uid)
		return true;
	methods_not_permitted(call, "the VM was not attached by this user's own process");
	return false;
}

void methods_vm_detach(struct manager *manager, struct call *call)
{
	struct record *record;
	enum verdict verdict;
	const char *name;
	json_int_t timeout_ms = -1;
	struct job *job;

	if (!params_unpack(call, "{s:s, s?I}", "vm", &name, "timeout_ms", &timeout_ms))
		return;
	record = methods_find_vm(manager, call, name);
	if (!record || !is_of_caller(record, call) ||
		!may_run(record, call, COMMAND_DETACH, &verdict))
		return;
	job = manager_detach(manager, record, "detach");
	if (job)
		methods_wait_for_command(manager, call, job, timeout_ms);
	else
		call_fail(call, CALL_BUSY, NULL, "no memory for one more job");
}

void methods_vm_wait(struct manager *manager, struct call *call)
{
	struct waiter waiter = {.kind = WAIT_STATE, .call = call};
	struct record *record;
	const char *name;
	const char *state;
	json_int_t timeout_ms = -1;

	if (!params_unpack(call, "{s:s, s:s, s?I}", "vm", &name, "state", &state, "timeout_ms",
		    &timeout_ms))
		return;
	if (!state_from_name(state, &waiter.state)) {
		call_fail(call, CALL_INVALID_PARAMS, NULL, "state: there is no state %s", state);
		return;
	}
	record = methods_find_vm(manager, call, name);
	if (!record)
		return;
	if (record->state == waiter.state) {
		call_reply(call, json_pack("{s:s}", "state", state));
		return;
	}
	waiter.deadline_ns = methods_deadline(timeout_ms);
	(void)snprintf(waiter.vm_name, sizeof(waiter.vm_name), "%s", record->name);
	(void)methods_add_waiter(manager, &waiter);
}
