/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/call.h"
#include "ctl/manager.h"
#include "ctl/methods_priv.h"
#include "ctl/params.h"
#include "ctl/peer.h"
#include "engine/engine.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define DWELL_MAX_S	   86400
#define WAIT_MEMORY_MAX_MS 3600000
/* A prepared process has not run an instruction yet. */
#define WAIT_PREPARED_MS 60000

/* What a request is made of until its job owns it. */
struct attach_call {
	struct attach_options *options;
	pid_t pids[PROCESSES_MAX];
	uint32_t pid_count;
	const char *name; /* or NULL */
};

static struct attach_options *new_options(struct call *call)
{
	struct attach_options *options = attach_options_new();

	if (!options)
		call_fail(call, CALL_INTERNAL_ERROR, NULL, "no memory");
	return options;
}

static bool parse_dwell(struct call *call, const json_t *dwell, uint32_t *ret_ms)
{
	double seconds;

	if (!dwell || (json_is_string(dwell) && strcmp(json_string_value(dwell), "auto") == 0))
		return true;
	seconds = json_is_number(dwell) ? json_number_value(dwell) : -1;
	if (!(seconds >= 0 && seconds <= DWELL_MAX_S)) {
		call_fail(call, CALL_INVALID_PARAMS, NULL,
			"dwell: either \"auto\" or seconds, 0 to %d", DWELL_MAX_S);
		return false;
	}
	*ret_ms = (uint32_t)lround(seconds * 1000);
	return true;
}

static bool parse_zap(struct call *call, const char *zap, enum zap_way *ret_way)
{
	static const char *const names[] = {
		[ZAP_AUTO] = "auto", [ZAP_INJECT] = "inject", [ZAP_PAGEOUT] = "pageout"};

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(zap, names[i]) == 0) {
			*ret_way = (enum zap_way)i;
			return true;
		}
	}
	call_fail(call, CALL_INVALID_PARAMS, NULL, "zap: inject, pageout or auto, not %s", zap);
	return false;
}

static bool parse_pids(struct call *call, const json_t *list, struct attach_call *attach)
{
	size_t count = json_array_size(list); /* 0 when it is no array */

	if (count == 0 || count > PROCESSES_MAX) {
		call_fail(call, CALL_INVALID_PARAMS, NULL, "pids: 1 to %u of them", PROCESSES_MAX);
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		json_int_t pid = json_integer_value(json_array_get(list, i)); /* 0 when not */

		if (!params_check_pid(call, pid))
			return false;
		attach->pids[attach->pid_count++] = (pid_t)pid;
	}
	return true;
}

static bool refuse(struct call *call, const char *reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool refuse(struct call *call, const char *reason, const char *format, ...)
{
	char text[PROBLEM_BYTES];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	call_fail(call, CALL_REFUSED, json_pack("{s:s}", "reason", reason), "%s", text);
	return false;
}

static bool check_pids(struct manager *manager, struct call *call, const struct attach_call *attach)
{
	for (uint32_t i = 0; i < attach->pid_count; i++) {
		const struct record *record = manager_find_by_pid(manager, attach->pids[i]);

		if (record)
			return refuse(call, "already-attached",
				"process %d is attached as %s already", (int)attach->pids[i],
				record->name);
	}
	return true;
}

/* The given name, or COMM-PID. */
static bool choose_name(struct call *call, const struct attach_call *attach, char *ret_name)
{
	if (!attach->name) {
		if (record_default_name(attach->pids[0], ret_name) == 0)
			return true;
		call_fail(
			call, CALL_NOT_FOUND, NULL, "there is no process %d", (int)attach->pids[0]);
		return false;
	}
	if (!record_name_is_valid(attach->name)) {
		call_fail(call, CALL_INVALID_PARAMS, NULL,
			"name: letters, digits and -._:+@, at most %d", VM_NAME_BYTES - 1);
		return false;
	}
	(void)snprintf(ret_name, VM_NAME_BYTES, "%s", attach->name);
	return true;
}

static bool new_record(
	struct manager *manager, struct call *call, const char *name, struct record **ret_record)
{
	int rc = manager_new_record(manager, name, ret_record);

	if (rc == 0)
		return true;
	if (rc == -EEXIST)
		return refuse(call, "name-taken", "there is a VM named %s already", name);
	call_fail(call, rc == -ENOSPC ? CALL_BUSY : CALL_INTERNAL_ERROR, NULL,
		"no room for one more VM besides %u (at most %u): %s", manager->record_count,
		VMS_MAX, strerror(-rc));
	return false;
}

/* Takes the options over when it returns true. */
static bool start_attach(
	struct manager *manager, struct call *call, const struct attach_call *attach)
{
	struct waiter waiter = {.kind = WAIT_COMMAND, .call = call, .deadline_ns = UINT64_MAX};
	char name[VM_NAME_BYTES];
	struct record *record;
	struct job *job;

	if (manager->is_ending) {
		call_fail(call, CALL_BUSY, NULL, "the daemon is ending");
		return false;
	}
	if (!check_pids(manager, call, attach) || !choose_name(call, attach, name))
		return false;
	job = manager_new_job(manager, name, COMMAND_ATTACH);
	if (!job) {
		call_fail(call, CALL_INTERNAL_ERROR, NULL, "no memory for one more job");
		return false;
	}
	if (!new_record(manager, call, name, &record)) {
		job_free(job);
		return false;
	}
	memcpy(job->request.pids, attach->pids, sizeof(attach->pids));
	job->request.pid_count = attach->pid_count;
	job->request.attach = attach->options;
	job->request.caller = *call_peer(call);
	if (attach->options->channel >= 0)
		record->owner = call_peer(call)->uid;
	waiter.job_id = job->id;
	if (waiter_add(&manager->waiters, &waiter) < 0)
		call_fail(call, CALL_INTERNAL_ERROR, NULL, "no memory to wait for the attach");
	manager_start(manager, record, job);
	return true;
}

/* One userfaultfd a shard; what does not come with the request is missed at the join. */
static void take_uffds(struct manager *manager, struct call *call, struct attach_options *options)
{
	uint32_t count = engine_shard_count(manager->engine);

	for (uint32_t i = 0; i < count; i++) {
		int fd = call_take_fd(call);

		if (fd < 0)
			return;
		options->uffds[options->uffd_count++] = fd;
	}
}

static bool parse_attach(struct manager *manager, struct call *call, struct attach_call *attach)
{
	struct attach_options *options = attach->options;
	json_t *pids = NULL;
	json_t *dwell = NULL;
	const char *zap = "auto";
	json_int_t min_size = (json_int_t)options->target.min_bytes;
	json_int_t wait_ms = 0;
	int all_mappers = 0;
	int allow_locked = 0;
	int trust_discard = 0;
	int verify_clean = 1;
	int is_prepared = 0;

	if (!params_unpack(call, "{s:o, s?s, s?b, s?b, s?I, s?o, s?s, s?b, s?b, s?b, s?I}", "pids",
		    &pids, "name", &attach->name, "all_mappers", &all_mappers, "allow_locked",
		    &allow_locked, "min_size", &min_size, "dwell", &dwell, "zap", &zap,
		    "trust_discard", &trust_discard, "verify_clean", &verify_clean, "prepared",
		    &is_prepared, "wait_memory_ms", &wait_ms))
		return false;
	if (!parse_pids(call, pids, attach) || !parse_dwell(call, dwell, &options->dwell_ms) ||
		!parse_zap(call, zap, &options->zap) ||
		!params_check_range(call, "min_size", min_size, 1, INT64_MAX) ||
		!params_check_range(call, "wait_memory_ms", wait_ms, 0, WAIT_MEMORY_MAX_MS))
		return false;
	options->target.min_bytes = (uint64_t)min_size;
	options->target.allow_locked = allow_locked != 0;
	options->all_mappers = all_mappers != 0;
	options->trust_discard = trust_discard != 0;
	options->verify_clean = verify_clean != 0;
	options->wait_memory_ms = (uint32_t)wait_ms;
	if (!is_prepared)
		return true;
	if (wait_ms == 0)
		options->wait_memory_ms = WAIT_PREPARED_MS;
	take_uffds(manager, call, options);
	return options->uffd_count > 0 ||
	       refuse(call, "wrong-count", "prepared, but no userfaultfds came with the request");
}

void methods_attach(struct manager *manager, struct call *call)
{
	struct attach_call attach = {.options = new_options(call)};

	if (!attach.options)
		return;
	if (!parse_attach(manager, call, &attach) || !start_attach(manager, call, &attach))
		attach_options_free(attach.options);
}

/* One region as given; its memfd is still an index, kept in @memfd. */
static bool parse_region(struct call *call, const json_t *item, struct given_region *ret_region)
{
	json_int_t address = 0;
	json_int_t size = 0;
	json_int_t offset = 0;
	json_int_t memfd = -1;
	const json_int_t mask = (json_int_t)PAGE_BYTES - 1;

	if (json_unpack_ex((json_t *)(uintptr_t)item, NULL, JSON_STRICT, "{s:I, s:I, s:I, s:I}",
		    "address", &address, "size", &size, "file_offset", &offset, "memfd",
		    &memfd) != 0 ||
		address <= 0 || size <= 0 || offset < 0 || memfd < 0 || memfd >= REGIONS_MAX ||
		size > INT64_MAX - address || size > INT64_MAX - offset ||
		((address | size | offset) & mask) != 0) {
		call_fail(call, CALL_INVALID_PARAMS, NULL,
			"regions: address, size, file_offset (page aligned) and memfd (an index)");
		return false;
	}
	*ret_region = (struct given_region){
		.memfd = (int)memfd,
		.file_offset = (uint64_t)offset,
		.size_bytes = (uint64_t)size,
		.address = (uint64_t)address,
	};
	return true;
}

/* Indices become descriptors; one memfd may serve several regions. */
static bool take_memfds(struct call *call, struct attach_options *options, uint32_t count)
{
	int memfds[REGIONS_MAX] = {0};
	uint32_t taken = 0;
	bool is_complete = true;

	for (; taken < count; taken++)
		memfds[taken] = call_take_fd(call);
	for (uint32_t i = 0; i < options->region_count; i++) {
		struct given_region *region = &options->regions[i];
		int memfd = memfds[region->memfd];

		region->memfd = memfd < 0 ? -1 : fcntl(memfd, F_DUPFD_CLOEXEC, 0);
		is_complete = is_complete && region->memfd >= 0;
	}
	while (taken > 0)
		close_fd(memfds[--taken]);
	if (!is_complete)
		call_fail(call, CALL_INVALID_PARAMS, NULL,
			"regions: memfds are missing among the descriptors of the request");
	return is_complete;
}

static bool take_regions(struct call *call, const json_t *list, struct attach_options *options)
{
	struct given_region regions[REGIONS_MAX];
	size_t count = json_array_size(list);
	uint32_t memfd_count = 0;

	if (count == 0 || count > REGIONS_MAX) {
		call_fail(call, CALL_INVALID_PARAMS, NULL, "regions: 1 to %u of them", REGIONS_MAX);
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		if (!parse_region(call, json_array_get(list, i), &regions[i]))
			return false;
		memfd_count = MAX(memfd_count, (uint32_t)regions[i].memfd + 1);
	}
	memcpy(options->regions, regions, sizeof(regions));
	options->region_count = (uint32_t)count;
	return take_memfds(call, options, memfd_count);
}

static bool parse_attach_self(
	struct manager *manager, struct call *call, struct attach_call *attach)
{
	struct attach_options *options = attach->options;
	json_t *regions = NULL;
	json_t *dwell = NULL;
	json_int_t min_size = (json_int_t)options->target.min_bytes;
	int all_mappers = 0;
	int trust_discard = 0;
	int verify_clean = 1;

	if (!params_unpack(call, "{s?s, s:o, s?o, s?b, s?b, s?b, s?I}", "name", &attach->name,
		    "regions", &regions, "dwell", &dwell, "trust_discard", &trust_discard,
		    "verify_clean", &verify_clean, "all_mappers", &all_mappers, "min_size",
		    &min_size))
		return false;
	if (!parse_dwell(call, dwell, &options->dwell_ms) || !take_regions(call, regions, options))
		return false;
	options->all_mappers = all_mappers != 0;
	options->trust_discard = trust_discard != 0;
	options->verify_clean = verify_clean != 0;
	options->zap = ZAP_CHANNEL;
	attach->pids[0] = call_peer(call)->pid;
	attach->pid_count = 1;
	take_uffds(manager, call, options);
	options->channel = call_take_fd(call);
	return options->channel >= 0 ||
	       refuse(call, "wrong-count",
		       "memfds, one userfaultfd for each of %u shards and the channel are to come "
		       "with the request",
		       engine_shard_count(manager->engine));
}

void methods_attach_self(struct manager *manager, struct call *call)
{
	struct attach_call attach = {.options = new_options(call)};

	if (!attach.options)
		return;
	if (!parse_attach_self(manager, call, &attach) || !start_attach(manager, call, &attach))
		attach_options_free(attach.options);
}
