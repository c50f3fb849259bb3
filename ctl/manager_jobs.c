/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of jobs and what it does to the state of a VM. One long job runs on a VM; one more may
 * wait for it to end, because it aborted it. Short jobs go past both.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/attach.h"
#include "ctl/manager_priv.h"
#include "ctl/methods.h"
#include "ctl/operation.h"
#include "ctl/status.h"
#include "ctl/worker.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/log.h"
#include "queue/cmdq.h"

static void set_state(struct manager *manager, struct record *record, enum vm_state state)
{
	if (record->state == state)
		return;
	log_info("%s: %s → %s", record->name, state_name(record->state), state_name(state));
	manager_publish(manager, "state", record->name,
		json_pack("{s:s, s:s}", "from", state_name(record->state), "state",
			state_name(state)));
	record->state = state;
	manager_answer_state(manager, record);
}

static void publish_job(struct manager *manager, const struct job *job)
{
	if (manager_is_listed(job))
		manager_publish(manager, "job", job->vm_name, job_json(job));
}

/* Ends a job for clients; its answer and its event go out. */
static void end_job(struct manager *manager, struct record *record, struct job *job)
{
	job_end(job);
	if (job->state == JOB_FAILED)
		log_warning("%s of %s: %s", command_name(job->command), job->vm_name,
			job->result.problem.text);
	publish_job(manager, job);
	manager_answer_job(manager, record, job);
	manager_keep_job(manager, job);
}

static void submit(struct manager *manager, struct record *record, struct job *job)
{
	if (operation_is_short(job)) {
		record->short_count++;
	} else {
		ASSERT(!record->running);
		record->running = job;
		record->before = record->state;
		set_state(manager, record, state_during(record->state, job->command));
	}
	job_begin(job);
	publish_job(manager, job);
	worker_submit(record->worker, job);
}

static void abort_running(struct record *record)
{
	ASSERT(record->running != NULL);
	atomic_store_explicit(&record->running->control.abort, true, memory_order_release);
	worker_poke(record->worker);
}

static void cancel_next(struct manager *manager, struct record *record)
{
	struct job *job = record->next;

	if (!job)
		return;
	record->next = NULL;
	job->result.outcome = OUTCOME_ABORTED;
	end_job(manager, record, job);
}

void manager_start(struct manager *manager, struct record *record, struct job *job)
{
	if (operation_is_short(job) || !record->running) {
		submit(manager, record, job);
		return;
	}
	cancel_next(manager, record);
	record->next = job;
	/* A scrub can wait; everything else cannot wait for one, nor for what it aborts. */
	if (job->command != COMMAND_SCRUB)
		abort_running(record);
}

bool manager_cancel(struct manager *manager, struct job *job)
{
	struct record *record = manager_find(manager, job->vm_name);

	if (job_is_over(job) || !record)
		return false;
	if (record->next == job)
		cancel_next(manager, record);
	else
		abort_running(record);
	return true;
}

/* What the table does not show: enable keeps the state, detach is not a state, and one may wait. */
static const char *busy_with(const struct record *record, enum command command)
{
	const struct job *last = record->next ? record->next : record->running;

	if (record->phase == RECORD_LEAVING || (last && last->command == COMMAND_DETACH))
		return "detach";
	if (command == COMMAND_SCRUB)
		return record->next && record->next->command != COMMAND_SCRUB
			       ? command_name(record->next->command)
			       : NULL;
	if (!last || command == COMMAND_DISABLE || command == COMMAND_DETACH ||
		command == COMMAND_ADD || command == COMMAND_REMOVE)
		return NULL;
	return last->command == COMMAND_ENABLE ? "enable" : NULL;
}

enum verdict manager_verdict(
	const struct record *record, enum command command, const char **ret_what)
{
	const struct job *last = record->next ? record->next : record->running;
	enum verdict verdict = state_verdict(record->state, command);

	*ret_what = busy_with(record, command);
	if (*ret_what)
		return VERDICT_ILLEGAL;
	if (command == COMMAND_SCRUB && last && last->command == COMMAND_SCRUB)
		return VERDICT_JOIN;
	/* A disable that waits behind what it aborts is the one to join, and no other is. */
	if (command == COMMAND_DISABLE && last && last->command == COMMAND_DISABLE)
		return VERDICT_JOIN;
	return verdict == VERDICT_JOIN ? VERDICT_ABORT : verdict;
}

struct job *manager_detach(struct manager *manager, struct record *record, const char *reason)
{
	struct job *job;

	if (record->phase != RECORD_ATTACHED || record->leave_reason)
		return NULL;
	job = manager_new_job(manager, record->name, COMMAND_DETACH);
	if (!job) {
		log_error("%s cannot be detached: no memory", record->name);
		return NULL;
	}
	record->leave_reason = reason;
	manager_start(manager, record, job);
	return job;
}

static void gone(struct manager *manager, struct record *record, struct job *job)
{
	char name[VM_NAME_BYTES];
	const char *reason = record->leave_reason;

	ASSERT(record->process_count == 0 || record->phase == RECORD_LEAVING);
	memcpy(name, record->name, sizeof(name));
	for (uint32_t i = 0; i < record->process_count; i++)
		manager_unwatch(manager, record->process[i].pidfd);
	record->running = NULL;
	end_job(manager, record, job);
	manager_remove_record(manager, record);
	if (reason) {
		log_info("%s: detached (%s)", name, reason);
		manager_publish(manager, "detached", name, json_pack("{s:s}", "reason", reason));
	}
	manager_answer_gone(manager, name);
	manager_continue_shutdown(manager, NULL);
}

/* The worker frees the VM once no short job is under way. */
static void finish_detach(struct record *record)
{
	struct job *job = record->running;

	if (record->phase != RECORD_LEAVING || record->short_count > 0)
		return;
	job->request.is_final = true;
	worker_submit(record->worker, job);
}

static void take_detach(struct manager *manager, struct record *record, struct job *job)
{
	if (job->request.is_final) {
		gone(manager, record, job);
		return;
	}
	if (job->result.outcome == OUTCOME_DONE) {
		record->vm = NULL; /* the worker is about to free it */
		record->phase = RECORD_LEAVING;
		finish_detach(record);
		return;
	}
	record->leave_reason = NULL;
	record->running = NULL;
	record_take_result(record, job);
	set_state(manager, record,
		state_after(record->before, COMMAND_DETACH, job->result.outcome,
			job->result.is_registered));
	manager_continue_shutdown(manager, job->result.problem.text);
	end_job(manager, record, job);
	if (record->process_count == 0)
		(void)manager_detach(manager, record, "exit");
}

static void add_processes(struct manager *manager, struct record *record, struct job *job)
{
	for (uint32_t i = 0; i < job->result.added_count; i++) {
		struct process_info *info = &job->result.added[i];
		int pidfd = info->pidfd;

		record->stopped_us = MAX(record->stopped_us, info->stopped_us);
		record_add_process(record, info);
		if (pidfd < 0 || manager_watch(manager, pidfd) < 0)
			log_warning("%s: the end of process %d will not be noticed", record->name,
				(int)info->pid);
	}
}

/* Ready, unless a predecessor had taken its faults over. */
static enum vm_state state_of_attached(const struct vm *vm)
{
	struct vm_stats stats;

	if (!vm_is_registered(vm))
		return STATE_READY;
	vm_stats_read(vm, &stats);
	return stats.swap_pages > 0 ? STATE_ACTIVE : STATE_PENDING;
}

/* Its job neither waits for anything nor fails. */
static void await_listed(struct manager *manager, const struct record *record)
{
	while (record->phase == RECORD_ATTACHING) {
		struct job *job = cmdq_wait(manager->results, WORKER_RESULT_LANE, -1);

		if (job)
			manager_take_result(manager, job);
	}
}

/*
 * Who asks later finds all VMs there are. Not what an attach or a detach has left behind: that is
 * nobody's VM, and takes its time.
 */
int manager_adopt(struct manager *manager, const char *name, struct attachment *attachment)
{
	const bool is_attached = ledger_vm(&attachment->ledger)->is_attached;
	struct record *record;
	struct job *job;
	int rc = manager_new_record(manager, name, &record);

	if (rc < 0)
		return rc;
	job = manager_new_job(manager, name, COMMAND_ATTACH);
	if (!job)
		return -ENOMEM;
	job->request.adopted = attachment;
	record->owner = ledger_vm(&attachment->ledger)->owner;
	manager_start(manager, record, job);
	if (is_attached)
		await_listed(manager, record);
	return 0;
}

static void take_attach(struct manager *manager, struct record *record, struct job *job)
{
	record->running = NULL;
	if (job->result.outcome != OUTCOME_DONE) {
		record->phase = RECORD_LEAVING;
		gone(manager, record, job);
		return;
	}
	record->phase = RECORD_ATTACHED;
	record->vm = job->result.vm;
	record->zap = job->result.zap;
	record->dwell_ms = job->result.dwell_ms;
	record->region_count = job->result.region_count;
	add_processes(manager, record, job);
	set_state(manager, record, state_of_attached(record->vm));
	log_info("%s: attached, %u processes, stopped for %llu us", record->name,
		record->process_count, (unsigned long long)record->stopped_us);
	manager_publish(manager, "attached", record->name,
		json_pack("{s:o, s:I}", "pids", status_pids_json(record), "pages",
			(json_int_t)vm_pages(record->vm)));
	end_job(manager, record, job);
	if (manager->is_ending)
		(void)manager_detach(manager, record, "shutdown");
}

static void take_removal(struct manager *manager, struct record *record, const struct job *job)
{
	const struct process_info *info = record_find_pid(record, job->request.pids[0]);

	if (job->result.outcome != OUTCOME_DONE || !info)
		return;
	if (job->command == COMMAND_COLLECT) {
		log_info("%s: process %d has ended", record->name, (int)info->pid);
		manager_publish(manager, "process-exited", record->name,
			json_pack("{s:i}", "pid", (int)info->pid));
	}
	manager_unwatch(manager, info->pidfd);
	(void)record_remove_process(record, info->process);
	if (record->process_count == 0)
		(void)manager_detach(manager, record, "exit");
}

static void take_short(struct manager *manager, struct record *record, struct job *job)
{
	ASSERT(record->short_count > 0);
	record->short_count--;
	if (job->command == COMMAND_ADD)
		add_processes(manager, record, job);
	else if (job->command == COMMAND_REMOVE || job->command == COMMAND_COLLECT)
		take_removal(manager, record, job);
	end_job(manager, record, job);
	if (record->running && record->running->command == COMMAND_DETACH)
		finish_detach(record);
}

static void publish_mappers(struct manager *manager, const struct job *job)
{
	if (strcmp(job->result.problem.reason, "new-mapper") != 0)
		return;
	for (uint32_t i = 0; i < job->result.mapper_count; i++)
		manager_publish(manager, "new-mapper", job->vm_name,
			json_pack("{s:i, s:s}", "pid", (int)job->result.mappers[i].pid, "comm",
				job->result.mappers[i].comm));
}

static void take_long(struct manager *manager, struct record *record, struct job *job)
{
	struct job *next = record->next;
	enum vm_state state = state_after(
		record->before, job->command, job->result.outcome, job->result.is_registered);

	record->running = NULL;
	record->next = NULL;
	if (job->command != COMMAND_SCRUB)
		record_take_result(record, job);
	publish_mappers(manager, job);
	set_state(manager, record, state);
	end_job(manager, record, job);
	if (job->command != COMMAND_SCRUB)
		manager_answer_state(manager, record); /* failed again is a change nobody saw */
	if (next)
		submit(manager, record, next);
}

void manager_take_result(struct manager *manager, struct job *job)
{
	struct record *record = manager_find(manager, job->vm_name);

	ASSERT(record != NULL);
	if (operation_is_short(job)) {
		take_short(manager, record, job);
		return;
	}
	ASSERT(record->running == job);
	if (job->command == COMMAND_ATTACH)
		take_attach(manager, record, job);
	else if (job->command == COMMAND_DETACH)
		take_detach(manager, record, job);
	else
		take_long(manager, record, job);
}
