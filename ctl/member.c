/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/member.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ctl/children.h"
#include "ctl/inject.h"
#include "ctl/ledger.h"
#include "ctl/maps_text.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "ctl/remote.h"
#include "engine/engine.h"
#include "engine/spans.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/log.h"
#include "queue/base/probe.h"

/* Mappings of the memory that a process may have: each area cut once more, and then some. */
#define MAPPINGS_MAX 1024u

static void member_init(struct member *member)
{
	memset(member, 0, sizeof(*member));
	member->target.pidfd = -1;
	member->target.uffd = -1;
	member->channel = -1;
	memset(member->uffds, -1, sizeof(member->uffds));
}

int member_open(pid_t pid, const struct target_options *options, struct member *ret_member,
	struct problem *problem)
{
	struct member member;
	int rc;

	member_init(&member);
	rc = target_open(pid, options, &member.target, problem);
	if (rc == 0)
		*ret_member = member;
	return rc;
}

/* Its name, and when it was started: another one that has its number later differs. */
static void read_stat(struct target *target)
{
	struct procfs_stat stat = {.comm = "?"};

	(void)procfs_stat(target->pid, 0, &stat);
	(void)snprintf(target->comm, sizeof(target->comm), "%s", stat.comm);
	target->start_time = stat.start_time;
}

/* What maps_read() would have found, from what the VMM says of itself. */
static int given_list(
	struct attach_options *options, struct mapping_list *ret_list, struct problem *problem)
{
	struct mapping *items = calloc(options->region_count, sizeof(*items));

	if (!items)
		return problem_set(problem, -ENOMEM, "no-memory", "no memory for the regions");
	for (uint32_t i = 0; i < options->region_count; i++) {
		const struct given_region *region = &options->regions[i];
		struct stat status;

		/* seals exist on memfds and shmem only */
		if (fstat(region->memfd, &status) < 0 || fcntl(region->memfd, F_GET_SEALS) < 0) {
			free(items);
			return problem_set(problem, -EINVAL, "not-shared",
				"region %u: its descriptor is no memfd", i);
		}
		items[i].start = region->address;
		items[i].end = region->address + region->size_bytes;
		items[i].file_offset = region->file_offset;
		items[i].device = status.st_dev;
		items[i].inode = status.st_ino;
	}
	ret_list->item = items;
	ret_list->count = options->region_count;
	return 0;
}

int member_open_self(pid_t pid, struct attach_options *options, struct member *ret_member,
	struct problem *problem)
{
	struct member member;
	int rc;

	ASSERT(options->channel >= 0);
	member_init(&member);
	member.target.pid = pid;
	member.target.pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* @control pidfd_open */
	if (member.target.pidfd < 0)
		return problem_set(
			problem, -errno, "gone", "process %d: %s", (int)pid, strerror(errno));
	read_stat(&member.target);
	rc = given_list(options, &member.target.memory, problem);
	if (rc < 0) {
		close_fd(member.target.pidfd);
		return rc;
	}
	member.channel = take_fd(&options->channel);
	*ret_member = member;
	return 0;
}

int member_read_maps(struct member *member, const struct area_list *areas, struct problem *problem)
{
	struct mapping_list list;
	int rc = maps_read(member->target.pid, PAGE_BYTES, &list);

	if (rc < 0)
		return problem_set(problem, rc, "gone",
			"cannot read the mappings of process %d: %s", (int)member->target.pid,
			strerror(-rc));
	if (area_filter(areas, &list) == 0) {
		maps_free(&list);
		return problem_set(problem, -ENOENT, "not-a-mapper",
			"process %d (%s) does not map the memory of this VM",
			(int)member->target.pid, member->target.comm);
	}
	maps_free(&member->target.memory);
	member->target.memory = list;
	return 0;
}

static int find_addresses(
	struct member *member, const struct area_list *areas, struct problem *problem)
{
	for (uint32_t i = 0; i < areas->count; i++) {
		int rc = area_address(&member->target.memory, &areas->item[i], &member->address[i]);

		if (rc == -EEXIST)
			return problem_set(problem, rc, "mapped-twice",
				"process %d (%s) maps the same guest memory at two addresses",
				(int)member->target.pid, member->target.comm);
		if (rc < 0)
			return problem_set(problem, rc, "mapped-partly",
				"process %d (%s) maps a piece of the memory that the VM is not cut "
				"at: detach the VM and attach all its processes together",
				(int)member->target.pid, member->target.comm);
	}
	return 0;
}

int member_hold(struct member *member, const int *fds)
{
	int rc;

	ASSERT(member->target.uffd < 0);
	member->target.uffd = errno_of(fcntl(fds[0], F_DUPFD_CLOEXEC, 0));
	rc = MIN(member->target.uffd, 0);
	for (uint32_t i = 0; i < member->remote_count; i++) {
		member->uffds[i] = errno_of(fcntl(fds[i], F_DUPFD_CLOEXEC, 0));
		rc = MIN(member->uffds[i], rc);
	}
	return rc;
}

/*
 * Into the ledger, before anything is registered, so that a successor finds whatever may fault;
 * and while the process stands, if they were made in it: then there is no moment when nobody would
 * close the copies after our death.
 */
static int keep(struct member *member, const struct member_join *join, const int *fds)
{
	struct ledger_process process = {
		.pid = member->target.pid,
		.start_time = member->target.start_time,
		.uid = member->target.uid,
		.remote_count = member->remote_count,
	};
	struct ledger_fds kept = {
		.pidfd = member->target.pidfd,
		.channel = member->channel,
		.uffd_count = join->shard_count,
	};
	int rc;

	memcpy(process.comm, member->target.comm, sizeof(process.comm));
	memcpy(process.address, member->address, sizeof(process.address));
	memcpy(process.remote, member->remote, sizeof(process.remote));
	memcpy(kept.uffds, fds, join->shard_count * sizeof(*fds));
	rc = ledger_keep_process(join->ledger, &process, &kept, &member->place);
	member->is_kept = rc == 0;
	return rc;
}

static int explain_keep(const struct member *member, int error, struct problem *problem)
{
	return problem_set(problem, error, "supervisor",
		"the supervisor cannot hold the descriptors of process %d: %s",
		(int)member->target.pid, strerror(-error));
}

static int explain_hold(int error, struct problem *problem)
{
	return problem_set(problem, error, "no-descriptors", "vmswapd has no free descriptor: %s",
		strerror(-error));
}

/* Into @fds, and kept, while the process stands. */
static int make_and_keep(struct member *member, const struct member_join *join,
	struct injection *injection, int *fds, struct problem *problem)
{
	int rc = inject_uffds(injection, join->shard_count, fds, member->remote, problem);

	if (rc < 0)
		return rc;
	PROBE(attach, made);
	member->remote_count = join->shard_count;
	rc = keep(member, join, fds);
	if (rc == 0)
		return 0;
	inject_close(injection, member->remote, member->remote_count);
	member->remote_count = 0;
	return explain_keep(member, rc, problem);
}

/* By injection, one stop. */
static int make_uffds(struct member *member, const struct member_join *join, int *ret_fds,
	struct problem *problem)
{
	struct injection *injection = NULL;
	int rc = inject_begin(&member->target, &injection, problem);
	int error;

	if (rc < 0)
		return rc;
	rc = make_and_keep(member, join, injection, ret_fds, problem);
	error = inject_end_sure(injection, &member->stopped_us);
	if (rc < 0)
		return rc;
	rc = member_hold(member, ret_fds);
	if (rc < 0)
		return explain_hold(rc, problem);
	if (error)
		return problem_set(problem, error, "call-timeout",
			"process %d has its userfaultfds, but did not go on in time: try again",
			(int)member->target.pid);
	return 0;
}

/* Those that came with the request. */
static int take_uffds(struct member *member, const struct member_join *join, int *ret_fds,
	struct problem *problem)
{
	struct attach_options *options = join->options;
	int rc;

	if (options->uffd_count != join->shard_count)
		return problem_set(problem, -EINVAL, "wrong-count",
			"%u userfaultfds came with the request, one for each of %u shards is "
			"needed",
			options->uffd_count, join->shard_count);
	for (uint32_t i = 0; i < join->shard_count; i++)
		member->remote[i] = remote_find(member->target.pid, options->uffds[i]);
	/* A VMM with a channel knows its copies and closes them itself. */
	member->remote_count = member->channel < 0 ? join->shard_count : 0;
	rc = member_hold(member, options->uffds);
	if (rc < 0)
		return explain_hold(rc, problem);
	rc = keep(member, join, options->uffds);
	if (rc < 0)
		return explain_keep(member, rc, problem);
	for (uint32_t i = 0; i < join->shard_count; i++)
		ret_fds[i] = take_fd(&options->uffds[i]);
	return 0;
}

static int find_uffds(struct member *member, const struct member_join *join, int *ret_fds,
	struct problem *problem)
{
	if (join->options && join->options->uffd_count > 0)
		return take_uffds(member, join, ret_fds, problem);
	return make_uffds(member, join, ret_fds, problem);
}

static int explain_add(const struct member *member, int error, struct problem *problem)
{
	if (error == -EBUSY)
		return problem_set(problem, error, "userfaultfd-present",
			"process %d (%s) has another userfaultfd on its guest memory: a migration "
			"or a snapshot is in progress; try again afterwards",
			(int)member->target.pid, member->target.comm);
	return problem_set(problem, error, "register-failed",
		"the memory of process %d (%s) cannot be registered: %s", (int)member->target.pid,
		member->target.comm, strerror(-error));
}

int member_join(struct member *member, const struct member_join *join, struct problem *problem)
{
	int fds[SHARDS_MAX];
	struct process_spec spec = {
		.pid = member->target.pid,
		.pidfd = member->target.pidfd,
		.address = member->address,
		.uffds = fds,
	};
	int rc;

	ASSERT(!member->is_joined);
	ASSERT(join->shard_count <= SHARDS_MAX);
	memset(fds, -1, sizeof(fds));
	rc = find_addresses(member, join->areas, problem);
	if (rc == 0)
		rc = find_uffds(member, join, fds, problem);
	/*
	 * From now on the program that has our userfaultfds is meant, and no other. What it maps
	 * was looked up before they were made, maybe in the program before: so once more. A
	 * channel's owner has told us itself.
	 */
	if (rc == 0 && member->channel < 0)
		rc = member_check_maps(member, join->areas, problem);
	if (rc < 0) {
		close_fds(fds, join->shard_count);
		return rc;
	}
	PROBE(attach, found);
	ledger_settle_process(join->ledger, member->place, member->stopped_us);
	spec.tag = children_tag(join->ledger->number, member->place, member->target.pid);
	rc = vm_process_add(join->vm, &spec, &member->process);
	if (rc < 0)
		return explain_add(member, rc, problem);
	member->is_joined = true;
	return 0;
}

void member_forget(struct member *member, struct ledger_entry *ledger)
{
	if (member->is_kept)
		ledger_drop_process(ledger, member->place);
	member->is_kept = false;
}

/* The mappings of the files of @areas, without smaps: that would walk the page tables. */
static int read_file_maps(
	pid_t pid, const struct area_list *areas, struct mapping *ret_items, uint32_t *ret_count)
{
	char path[PROCFS_PATH_BYTES];
	CLEANUP_FILE FILE *file = NULL;
	struct maps_text text;
	struct maps_entry entry;
	uint32_t count = 0;
	int rc;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	rc = procfs_open_text(path, &file);
	if (rc < 0)
		return rc;
	maps_text_init(&text, file);
	while (maps_text_next(&text, &entry)) {
		struct mapping_list list = {.item = &ret_items[count], .count = 1};

		if (count == MAPPINGS_MAX)
			return -E2BIG;
		ret_items[count] = (struct mapping){.start = entry.start,
			.end = entry.end,
			.file_offset = entry.file_offset,
			.device = entry.device,
			.inode = entry.inode};
		if (!entry.is_shared || area_filter(areas, &list) == 0)
			continue;
		if (count > 0 && area_merge(&ret_items[count - 1], &ret_items[count]))
			continue;
		count++;
	}
	*ret_count = count;
	return 0;
}

/* The same in a list of its own, to be freed. */
static int list_file_maps(
	const struct member *member, const struct area_list *areas, struct mapping_list *ret_list)
{
	struct mapping_list list = {.item = calloc(MAPPINGS_MAX + 1, sizeof(*list.item))};
	int rc = -ENOMEM;

	if (list.item)
		rc = read_file_maps(member->target.pid, areas, list.item, &list.count);
	if (rc < 0)
		maps_free(&list);
	*ret_list = list;
	return rc;
}

static bool is_where_it_lay(
	const struct member *member, const struct area_list *areas, const struct mapping_list *list)
{
	for (uint32_t i = 0; i < areas->count; i++) {
		uint64_t address = 0;

		if (area_address(list, &areas->item[i], &address) < 0 ||
			(address != 0 && address != member->address[i]))
			return false;
	}
	return true;
}

int member_check_maps(
	const struct member *member, const struct area_list *areas, struct problem *problem)
{
	struct mapping_list list;
	int rc = list_file_maps(member, areas, &list);
	bool is_same;

	if (rc < 0 && !member_is_alive(member))
		return 0;
	if (rc < 0)
		return problem_set(problem, rc, "scan-failed",
			"cannot read the mappings of process %d: %s", (int)member->target.pid,
			strerror(-rc));
	is_same = is_where_it_lay(member, areas, &list);
	maps_free(&list);
	if (is_same)
		return 0;
	return problem_set(problem, -EREMCHG, "mapping-changed",
		"process %d (%s) maps guest memory at other addresses than when it was "
		"attached: detach the VM and attach it again",
		(int)member->target.pid, member->target.comm);
}

/* Every area lies where it lay, and nothing else is mapped. */
static bool is_as_before(const struct member *member, const struct area_list *areas,
	const struct process_run *runs, uint32_t count)
{
	uint32_t mapped = 0;

	for (uint32_t i = 0; i < areas->count; i++)
		mapped += member->address[i] != 0;
	for (uint32_t i = 0; i < count; i++)
		if (runs[i].address != member->address[runs[i].region] ||
			runs[i].size_bytes != areas->item[runs[i].region].size_bytes)
			return false;
	return count == mapped;
}

int member_find_runs(const struct member *member, const struct area_list *areas,
	struct process_run *ret_runs, uint32_t *ret_count)
{
	struct mapping_list list;
	int rc = list_file_maps(member, areas, &list);

	if (rc < 0)
		return member_is_alive(member) ? rc : 0;
	rc = area_runs(&list, areas, member->address, ret_runs, SPANS_MAX);
	maps_free(&list);
	if (rc < 0)
		return rc;
	*ret_count = (uint32_t)rc;
	return is_as_before(member, areas, ret_runs, (uint32_t)rc) ? 0 : 1;
}

bool member_has_unmapped(const struct member *member, const struct area_list *areas)
{
	struct mapping_list list;
	bool is_empty;

	if (!member_is_alive(member))
		return true;
	if (list_file_maps(member, areas, &list) < 0)
		return false;
	is_empty = list.count == 0;
	maps_free(&list);
	return is_empty;
}

void member_leave(struct member *member, struct vm *vm, struct ledger_entry *ledger)
{
	if (member->is_kept)
		ledger_unsettle_process(ledger, member->place);
	if (!member->is_joined)
		return;
	vm_process_remove(vm, member->process);
	member->is_joined = false;
}

void member_close_copies(struct member *member)
{
	struct problem problem;
	int rc;

	ASSERT(!member->is_joined);
	if (member->remote_count == 0 || !member_is_alive(member))
		return;
	rc = inject_close_copies(
		&member->target, member->remote, member->uffds, member->remote_count, &problem);
	if (rc < 0)
		log_warning("process %d (%s) keeps %u userfaultfds open: %s",
			(int)member->target.pid, member->target.comm, member->remote_count,
			problem.text);
}

void member_close(struct member *member)
{
	ASSERT(!member->is_joined);
	close_fds(member->uffds, member->remote_count);
	close_fd(member->channel);
	target_close(&member->target);
}

bool member_is_alive(const struct member *member)
{
	return target_is_alive(&member->target);
}

void member_describe(const struct member *member, struct process_info *ret_info)
{
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->pid = member->target.pid;
	ret_info->pidfd = fcntl(member->target.pidfd, F_DUPFD_CLOEXEC, 0);
	ret_info->process = member->process;
	(void)snprintf(ret_info->comm, sizeof(ret_info->comm), "%s", member->target.comm);
	ret_info->stopped_us = member->stopped_us;
}
