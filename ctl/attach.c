/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching, in this order, so that everything that can refuse does so before a process is changed:
 *
 *   open every process, find its mappings        member_open()
 *   look for others that map the same files      mappers_foreign(): attached too, or refused
 *   cut the memory into areas                    area_collect()
 *   page tables                                  vm_new()
 *   userfaultfds, one a shard and process        member_join(): here the targets are stopped
 *
 * Whatever fails, attach_close() undoes what was done.
 */
#include "ctl/attach.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/mappers.h"
#include "ctl/permit.h"
#include "ctl/problem.h"
#include "ctl/zapper.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/log.h"
#include "queue/base/probe.h"

/* Longer than any I/O that a disk with working error recovery takes (design.md 3, rule 1). */
#define DWELL_DMA_MS 30000u
/* Mappers that map processes that were found: each round finds those that came in the last. */
#define MAPPER_ROUNDS_MAX 4u
/* A VMM maps its memory in several steps; we begin when nothing was added for this long. */
#define MEMORY_POLL_MS	 20
#define MEMORY_SETTLE_MS 100

struct member *attach_find(struct attachment *attachment, pid_t pid)
{
	for (uint32_t i = 0; i < attachment->member_count; i++) {
		if (attachment->member[i].target.pid == pid)
			return &attachment->member[i];
	}
	return NULL;
}

struct member *attach_any_alive(struct attachment *attachment)
{
	for (uint32_t i = 0; i < attachment->member_count; i++) {
		if (member_is_alive(&attachment->member[i]))
			return &attachment->member[i];
	}
	return NULL;
}

static void drop_member(struct attachment *attachment, struct member *member)
{
	struct member *last = &attachment->member[--attachment->member_count];

	member_leave(member, attachment->vm, &attachment->ledger);
	PROBE(detach, left);
	member_close_copies(member);
	PROBE(detach, closed);
	member_forget(member, &attachment->ledger);
	PROBE(detach, forgotten);
	member_close(member);
	if (member != last)
		*member = *last;
}

/* Sum of what a process maps: a change says that it is still setting its memory up. */
static uint64_t mapped_bytes(pid_t pid, uint64_t min_bytes, int *ret_error)
{
	struct mapping_list list;
	uint64_t bytes = 0;

	*ret_error = maps_read(pid, min_bytes, &list);
	if (*ret_error < 0)
		return 0;
	for (uint32_t i = 0; i < list.count; i++)
		bytes += list.item[i].end - list.item[i].start;
	maps_free(&list);
	return bytes;
}

/* Until the process has mapped its memory, the time is over or it is gone: the caller sees which.
 */
static int wait_for_memory(struct job *job)
{
	const struct attach_options *options = job->request.attach;
	uint64_t deadline_ns = clock_ns() + options->wait_memory_ms * NS_PER_MS;
	uint64_t since_ns = clock_ns();
	uint64_t bytes = 0;
	int rc = 0;

	while (rc == 0 && clock_ns() < deadline_ns) {
		uint64_t now = mapped_bytes(job->request.pids[0], options->target.min_bytes, &rc);

		if (now != bytes) {
			bytes = now;
			since_ns = clock_ns();
		}
		if (bytes != 0 && clock_ns() - since_ns >= MEMORY_SETTLE_MS * NS_PER_MS)
			return 0;
		if (job_is_aborted(job))
			return -ECANCELED;
		/* @control poll */
		(void)poll(NULL, 0, MEMORY_POLL_MS); /* /proc has no event for a new mapping */
	}
	return 0;
}

/* One that is not the VMM: it is asked only for what the VMM maps. */
static int open_other(struct attachment *attachment, pid_t pid, struct problem *problem)
{
	struct target_options options = attachment->options;
	struct member *member = &attachment->member[attachment->member_count];
	int rc;

	if (attachment->member_count == PROCESSES_MAX)
		return problem_set(problem, -E2BIG, "too-many-processes",
			"more than %u processes map the memory", PROCESSES_MAX);
	options.min_bytes = PAGE_BYTES;
	rc = member_open(pid, &options, member, problem);
	if (rc < 0)
		return rc;
	attachment->member_count++;
	rc = permit_check_caller(&attachment->caller, pid, problem);
	if (rc < 0)
		return rc;
	return member_read_maps(member, &attachment->areas, problem);
}

/* The VMM decides which files are guest memory: those of which it maps enough in one piece. */
static int open_first(struct attachment *attachment, struct job *job)
{
	struct attach_options *options = job->request.attach;
	struct problem *problem = &job->result.problem;
	struct member *member = &attachment->member[0];
	const struct mapping_list *list = &member->target.memory;
	bool is_self = options->channel >= 0;
	pid_t pid = job->request.pids[0];
	int rc = is_self ? member_open_self(pid, options, member, problem)
			 : member_open(pid, &options->target, member, problem);

	if (rc < 0)
		return rc;
	attachment->member_count = 1;
	rc = is_self ? permit_check_own(&attachment->caller, pid, problem)
		     : permit_check_caller(&attachment->caller, pid, problem);
	if (rc == 0)
		rc = area_collect(&list, 1, &attachment->areas, problem);
	if (rc == 0 && !is_self)
		rc = member_read_maps(member, &attachment->areas, problem);
	return rc;
}

static int open_named(struct attachment *attachment, struct job *job)
{
	int rc = open_first(attachment, job);

	for (uint32_t i = 1; rc == 0 && i < job->request.pid_count; i++) {
		if (!attach_find(attachment, job->request.pids[i]))
			rc = open_other(attachment, job->request.pids[i], &job->result.problem);
	}
	return rc;
}

static int find_others(struct attachment *attachment, struct job_result *result)
{
	pid_t pids[PROCESSES_MAX];

	free(result->mappers);
	result->mappers = NULL;
	result->mapper_count = 0;
	for (uint32_t i = 0; i < attachment->member_count; i++)
		pids[i] = attachment->member[i].target.pid;
	return mappers_foreign(&attachment->areas, pids, attachment->member_count, &result->mappers,
		&result->mapper_count);
}

static int refuse_others(const struct job_result *result, struct problem *problem)
{
	char names[MAPPERS_TEXT_BYTES];

	mappers_text(result->mappers, result->mapper_count, names, sizeof(names));
	return problem_set(problem, -EXDEV, "other-mappers",
		"the memory is also mapped by %s: name these processes too, or say --all-mappers",
		names);
}

static int open_mappers(struct attachment *attachment, struct job *job)
{
	struct job_result *result = &job->result;

	for (uint32_t round = 0; round < MAPPER_ROUNDS_MAX; round++) {
		int rc = find_others(attachment, result);

		if (rc < 0)
			return problem_set(&result->problem, rc, "scan-failed",
				"cannot look for processes that map the memory: %s", strerror(-rc));
		if (result->mapper_count == 0)
			return 0;
		if (!job->request.attach->all_mappers)
			break;
		for (uint32_t i = 0; rc == 0 && i < result->mapper_count; i++)
			rc = open_other(attachment, result->mappers[i].pid, &result->problem);
		if (rc < 0)
			return rc;
	}
	return refuse_others(result, &result->problem);
}

static int cut_areas(struct attachment *attachment, struct problem *problem)
{
	const struct mapping_list *lists[PROCESSES_MAX];

	for (uint32_t i = 0; i < attachment->member_count; i++)
		lists[i] = &attachment->member[i].target.memory;
	return area_collect(lists, attachment->member_count, &attachment->areas, problem);
}

/* A descriptor of the file of @area: one that was handed over, or out of a process that maps it. */
static int open_memory(const struct attachment *attachment, const struct attach_options *options,
	const struct area *area)
{
	for (uint32_t i = 0; i < options->region_count; i++) {
		if (area_is_file(area, options->regions[i].memfd))
			return fcntl(options->regions[i].memfd, F_DUPFD_CLOEXEC, 0);
	}
	for (uint32_t i = 0; i < attachment->member_count; i++) {
		const struct target *target = &attachment->member[i].target;
		const int fd = target_open_file(target, &target->memory, area->device, area->inode);

		if (fd != -ENOENT)
			return fd;
	}
	return -ENOENT;
}

/* What a successor must know; not complete yet. */
static int keep_vm(struct attachment *attachment, struct job *job, const struct region_spec *specs)
{
	struct ledger_vm *kept = ledger_vm(&attachment->ledger);
	int memfds[REGIONS_MAX];
	int rc;

	memcpy(kept->name, job->vm_name, sizeof(kept->name));
	kept->owner =
		job->request.attach->zap == ZAP_CHANNEL ? attachment->caller.uid : PEER_NO_USER;
	kept->options = attachment->options;
	kept->zap = attachment->zap;
	kept->dwell_ms = attachment->dwell_ms;
	kept->trust_discard = job->request.attach->trust_discard;
	kept->verify_clean = job->request.attach->verify_clean;
	kept->areas = attachment->areas;
	for (uint32_t i = 0; i < attachment->areas.count; i++)
		memfds[i] = specs[i].memfd;
	rc = ledger_keep_vm(&attachment->ledger, attachment->vm, memfds);
	if (rc < 0)
		return problem_set(&job->result.problem, rc, "supervisor",
			"the supervisor cannot hold the descriptors of the VM: %s", strerror(-rc));
	return 0;
}

static int make_vm(struct attachment *attachment, struct job *job)
{
	const struct attach_options *options = job->request.attach;
	const struct area_list *areas = &attachment->areas;
	struct region_spec specs[REGIONS_MAX];
	struct vm_config config = {
		.regions = specs,
		.region_count = areas->count,
		.dwell_ms = attachment->dwell_ms,
		.trust_discard = options->trust_discard,
		.verify_clean = options->verify_clean,
	};
	uint32_t opened = 0;
	int rc = 0;

	for (; opened < areas->count; opened++) {
		const struct area *area = &areas->item[opened];
		int fd = open_memory(attachment, options, area);

		if (fd < 0) {
			rc = problem_set(&job->result.problem, fd, "memory-descriptor",
				"the guest memory cannot be opened: %s", strerror(-fd));
			break;
		}
		specs[opened] = (struct region_spec){fd, area->file_offset, area->size_bytes};
	}
	if (rc == 0) {
		rc = vm_new(attachment->engine, &config, &attachment->vm);
		if (rc < 0)
			(void)problem_set(&job->result.problem, rc, "no-memory",
				"no page tables for the VM: %s", strerror(-rc));
	}
	PROBE(attach, tables);
	if (rc == 0)
		rc = keep_vm(attachment, job, specs);
	PROBE(attach, kept);
	while (opened > 0)
		close_fd(specs[--opened].memfd);
	return rc;
}

static uint32_t choose_dwell(const struct attachment *attachment, uint32_t asked_ms)
{
	if (asked_ms != DWELL_AUTO)
		return asked_ms;
	for (uint32_t i = 0; i < attachment->member_count; i++) {
		if (target_may_do_dma(&attachment->member[i].target))
			return DWELL_DMA_MS;
	}
	return 0;
}

static struct member_join join_of(struct attachment *attachment)
{
	return (struct member_join){
		.vm = attachment->vm,
		.shard_count = engine_shard_count(attachment->engine),
		.areas = &attachment->areas,
		.ledger = &attachment->ledger,
	};
}

static int join_all(struct attachment *attachment, struct job *job)
{
	int rc = 0;

	for (uint32_t i = 0; i < attachment->member_count && rc == 0; i++) {
		struct member *member = &attachment->member[i];
		struct member_join join = join_of(attachment);

		join.options = i == 0 ? job->request.attach : NULL;
		rc = member_join(member, &join, &job->result.problem);
		if (rc == 0)
			member_describe(member, &job->result.added[job->result.added_count++]);
	}
	return rc;
}

static int open_all(struct attachment *attachment, struct job *job)
{
	int rc = wait_for_memory(job);

	if (rc == 0)
		rc = open_named(attachment, job);
	if (rc == 0)
		rc = open_mappers(attachment, job);
	if (rc == 0)
		rc = cut_areas(attachment, &job->result.problem);
	return rc;
}

/* For the manager, of a VM that is attached. */
static void report(const struct attachment *attachment, struct job *job)
{
	job->result.vm = attachment->vm;
	job->result.dwell_ms = attachment->dwell_ms;
	job->result.region_count = attachment->areas.count;
}

/* Who is dead is the manager's to collect. */
static void finish_passing(struct attachment *attachment)
{
	const struct ledger_vm *kept = ledger_vm(&attachment->ledger);
	uint32_t i = 0;

	while (i < attachment->member_count) {
		struct member *member = &attachment->member[i];

		if (kept->process[member->place].is_passing && member_is_alive(member))
			drop_member(attachment, member);
		else
			i++;
	}
}

int attach_take(struct job *job, struct attachment *ret_attachment)
{
	*ret_attachment = *job->request.adopted;
	free(job->request.adopted);
	job->request.adopted = NULL;
	/* What the dead worker had registered, to learn whether it can be, is not any more. */
	if (!ledger_vm(&ret_attachment->ledger)->is_attached) {
		attach_close(ret_attachment);
		return problem_set(&job->result.problem, -ECANCELED, "unfinished",
			"a worker died while it attached %s, or detached it", job->vm_name);
	}
	finish_passing(ret_attachment);
	report(ret_attachment, job);
	for (uint32_t i = 0; i < ret_attachment->member_count; i++)
		member_describe(
			&ret_attachment->member[i], &job->result.added[job->result.added_count++]);
	return 0;
}

int attach_open(struct engine *engine, struct keeper *keeper, struct job *job,
	struct attachment *ret_attachment)
{
	const struct attach_options *options = job->request.attach;
	struct attachment *attachment = ret_attachment;
	int rc;

	ASSERT(job->request.pid_count >= 1);
	memset(attachment, 0, sizeof(*attachment));
	attachment->engine = engine;
	attachment->options = options->target;
	attachment->caller = job->request.caller;
	attachment->zap = options->zap;
	job_set_phase(job, PHASE_ATTACHING);
	rc = ledger_take(keeper, &attachment->ledger);
	if (rc < 0)
		return problem_set(&job->result.problem, rc, "no-memory",
			"no place for another VM: %s", strerror(-rc));
	PROBE(attach, begun);
	rc = open_all(attachment, job);
	PROBE(attach, opened);
	if (rc == 0) {
		attachment->dwell_ms = choose_dwell(attachment, options->dwell_ms);
		rc = make_vm(attachment, job);
	}
	if (rc == 0)
		rc = join_all(attachment, job);
	if (rc < 0) {
		attach_close(attachment);
		return rc;
	}
	PROBE(attach, joined);
	ledger_vm(&attachment->ledger)->is_attached = true;
	PROBE(attach, done);
	report(attachment, job);
	return 0;
}

/* It may have touched staged pages before its faults were ours: none may stay mapped and staged. */
static void zap_late(struct attachment *attachment, const struct member *member)
{
	struct problem problem;
	struct dispatch_result result;
	int rc;

	attachment->quiet_until_ns = clock_ns() + attachment->dwell_ms * NS_PER_MS;
	(void)vm_dispatch(attachment->vm, CHUNK_GUARD, NULL, NULL, &result);
	rc = zapper_zap_all(attachment, member, &problem);
	(void)vm_dispatch(attachment->vm, CHUNK_SETTLE, NULL, NULL, &result);
	if (rc == 0)
		return;
	log_warning("%s; nothing is staged any more", problem.text);
	(void)vm_dispatch(attachment->vm, CHUNK_RELEASE, NULL, NULL, &result);
}

int attach_add(struct attachment *attachment, struct job *job)
{
	struct member_join join = join_of(attachment);
	struct problem *problem = &job->result.problem;
	struct member *member = &attachment->member[attachment->member_count];
	int rc;

	ASSERT(job->request.pid_count == 1);
	attachment->caller = job->request.caller;
	if (attach_find(attachment, job->request.pids[0]))
		return problem_set(problem, -EEXIST, "already-attached",
			"process %d is attached to %s already", (int)job->request.pids[0],
			job->vm_name);
	rc = open_other(attachment, job->request.pids[0], problem);
	if (rc == 0)
		rc = member_join(member, &join, problem);
	if (rc < 0) {
		if (member < &attachment->member[attachment->member_count])
			drop_member(attachment, member);
		return rc;
	}
	if (vm_is_registered(attachment->vm))
		zap_late(attachment, member);
	member_describe(member, &job->result.added[0]);
	job->result.added_count = 1;
	return 0;
}

int attach_remove(struct attachment *attachment, struct job *job)
{
	struct problem *problem = &job->result.problem;
	struct member *member = attach_find(attachment, job->request.pids[0]);

	if (!member)
		return problem_set(problem, -ENOENT, "not-attached",
			"process %d is not attached to %s", (int)job->request.pids[0],
			job->vm_name);
	if (attachment->member_count == 1)
		return problem_set(problem, -EBUSY, "last-process",
			"process %d is the last one of %s: detach the VM instead",
			(int)job->request.pids[0], job->vm_name);
	if (vm_is_registered(attachment->vm) && !member_has_unmapped(member, &attachment->areas))
		return problem_set(problem, -EBUSY, "still-mapped",
			"process %d still maps the memory of %s: disable the VM first",
			(int)job->request.pids[0], job->vm_name);
	drop_member(attachment, member);
	return 0;
}

void attach_collect(struct attachment *attachment, uint32_t process)
{
	for (uint32_t i = 0; i < attachment->member_count; i++) {
		struct member *member = &attachment->member[i];

		if (member->process == process && !member_is_alive(member)) {
			drop_member(attachment, member);
			return;
		}
	}
}

/* Nobody maps the memory any more: what is out is for nobody. */
static void forget_pages(struct vm *vm)
{
	struct dispatch_result result;

	ASSERT(vm_process_count(vm) == 0);
	(void)vm_dispatch(vm, CHUNK_FORGET, NULL, NULL, &result);
	(void)vm_unregister(vm);
}

void attach_close(struct attachment *attachment)
{
	/* Who dies in the middle leaves some of the processes: a successor lets go of the rest. */
	if (attachment->ledger.memory.memory)
		ledger_vm(&attachment->ledger)->is_attached = false;
	while (attachment->member_count > 0)
		drop_member(attachment, &attachment->member[attachment->member_count - 1]);
	if (attachment->vm && vm_is_registered(attachment->vm))
		forget_pages(attachment->vm);
	vm_free(attachment->vm);
	attachment->vm = NULL;
	PROBE(detach, freed);
	ledger_give(&attachment->ledger);
	PROBE(detach, done);
}
