/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from outside: shards, signals, processes that end; and the daemon's own end. */
#include <inttypes.h>
#include <string.h>
#include <sys/signalfd.h>

#include "ctl/manager_priv.h"
#include "ctl/notify.h"
#include "ctl/room.h"
#include "engine/engine.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

#define LOG_GAP_NS NS_PER_S
/* Events taken in one turn: clients must not wait for a broken disk. */
#define EVENTS_A_TURN 256

static const char *event_type(enum engine_event_kind kind)
{
	switch (kind) {
	case ENGINE_PAGE_POISONED: return "page-poisoned";
	case ENGINE_WRITE_ERROR: return "write-error";
	case ENGINE_MEMORY_TRUNCATED: return "memory-truncated";
	case ENGINE_READ_ERROR: return "read-error";
	case ENGINE_PAGE_CORRUPT: return "page-corrupt";
	case ENGINE_PROCESS_FORKED: return "forked";
	case ENGINE_RANGE_UNMAPPED: return "range-unmapped";
	case ENGINE_RANGE_MOVED: return "range-moved";
	}
	UNREACHABLE();
}

static int event_pid(struct record *record, uint32_t process)
{
	for (uint32_t i = 0; i < record->process_count; i++) {
		if (record->process[i].process == process)
			return (int)record->process[i].pid;
	}
	return 0;
}

static json_t *event_json(struct record *record, const struct engine_event *event)
{
	json_int_t page = (json_int_t)event->page;
	int pid = event_pid(record, event->process);

	switch (event->kind) {
	case ENGINE_PAGE_POISONED: return json_pack("{s:i, s:I}", "pid", pid, "page", page);
	case ENGINE_WRITE_ERROR: return json_pack("{s:i}", "errno", -event->error);
	case ENGINE_MEMORY_TRUNCATED: return json_pack("{s:I}", "page", page);
	case ENGINE_READ_ERROR:
		return json_pack("{s:i, s:I}", "errno", -event->error, "page", page);
	case ENGINE_PAGE_CORRUPT:
		return json_pack("{s:i, s:i, s:I, s:I}", "errno", -event->error, "pid", pid, "page",
			page, "address", (json_int_t)event->address);
	case ENGINE_PROCESS_FORKED: return json_pack("{s:i}", "pid", pid);
	case ENGINE_RANGE_UNMAPPED:
	case ENGINE_RANGE_MOVED: return json_pack("{s:i, s:I}", "pid", pid, "address", page);
	}
	UNREACHABLE();
}

static void log_event(
	struct manager *manager, const struct record *record, const struct engine_event *event)
{
	uint64_t now_ns = clock_ns();

	if (event->kind != ENGINE_PAGE_POISONED && now_ns - manager->event_logged_ns < LOG_GAP_NS) {
		manager->events_unlogged++;
		return;
	}
	log_warning("%s: %s at %" PRIu64 ": %s (%" PRIu64 " such messages left out)", record->name,
		event_type(event->kind), event->page, strerror(-event->error),
		manager->events_unlogged);
	manager->events_unlogged = 0;
	manager->event_logged_ns = now_ns;
}

void manager_take_engine_events(struct manager *manager)
{
	struct engine_event event;

	for (int i = 0; i < EVENTS_A_TURN; i++) {
		struct record *record;

		if (!engine_next_event(manager->engine, &event))
			return;
		record = event.vm ? manager_find_by_vm(manager, event.vm) : NULL;
		if (!record) /* detached meanwhile */
			continue;
		log_event(manager, record, &event);
		manager_publish(
			manager, event_type(event.kind), record->name, event_json(record, &event));
	}
}

void manager_process_exited(struct manager *manager, int pidfd)
{
	manager_unwatch(manager, pidfd);
	for (uint32_t i = 0; i < manager->record_count; i++) {
		struct record *record = manager->record[i];
		const struct process_info *info = record_find_pidfd(record, pidfd);
		struct job *job;

		if (!info || record->phase != RECORD_ATTACHED)
			continue;
		job = manager_new_job(manager, record->name, COMMAND_COLLECT);
		if (!job) {
			log_error("%s: process %d has ended and cannot be collected: no memory",
				record->name, (int)info->pid);
			return;
		}
		job->request.process = info->process;
		job->request.pids[0] = info->pid;
		job->request.pid_count = 1;
		manager_start(manager, record, job);
		return;
	}
}

/* Over all VMs: what is out, and whether RAM takes it. */
bool manager_may_shut_down(struct manager *manager, uint64_t *ret_missing_bytes)
{
	uint64_t bytes = 0;
	uint64_t missing = 0;

	for (uint32_t i = 0; i < manager->record_count; i++) {
		struct record *record = manager->record[i];
		struct vm_stats stats;

		if (!record->vm || record->process_count == 0)
			continue;
		vm_stats_read(record->vm, &stats);
		bytes += stats.swap_pages * PAGE_BYTES;
	}
	if (room_missing(0, bytes, &missing) < 0)
		missing = 0; /* each detach looks again and refuses by itself */
	*ret_missing_bytes = missing;
	return missing == 0;
}

void manager_shut_down(struct manager *manager)
{
	manager->is_ending = true;
	(void)notify_send("STOPPING=1");
	for (uint32_t i = 0; i < manager->record_count; i++) {
		struct record *record = manager->record[i];

		if (record->phase == RECORD_ATTACHING && record->running)
			atomic_store_explicit(
				&record->running->control.abort, true, memory_order_release);
		(void)manager_detach(manager, record, "shutdown");
	}
	manager_continue_shutdown(manager, NULL);
}

void manager_continue_shutdown(struct manager *manager, const char *failure)
{
	if (!manager->is_ending)
		return;
	if (failure) {
		log_error("not ending: %s", failure);
		manager->is_ending = false;
		manager_answer_shutdown(manager, failure);
		(void)notify_send(
			"READY=1\nSTATUS=a shutdown was called off: memory of a VM is out");
		return;
	}
	if (manager->record_count > 0)
		return;
	manager_answer_shutdown(manager, NULL);
	manager->has_ended = true;
}

void manager_take_signals(struct manager *manager)
{
	struct signalfd_siginfo info;

	while (read(manager->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		uint64_t missing = 0;

		log_info("signal %u from process %u: detaching all VMs", info.ssi_signo,
			info.ssi_pid);
		if (manager_may_shut_down(manager, &missing))
			manager_shut_down(manager);
		else
			log_error(
				"not ending: the memory of the VMs does not fit into RAM, %" PRIu64
				" MiB are missing",
				divide_up(missing, MIB));
	}
}
