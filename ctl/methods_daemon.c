/* SPDX-License-Identifier: Apache-2.0 */
/* daemon.*, job.* and events.*. */
#include <inttypes.h>
#include <unistd.h>

#include "ctl/call.h"
#include "ctl/keeper.h"
#include "ctl/ledger.h"
#include "ctl/manager.h"
#include "ctl/methods_priv.h"
#include "ctl/params.h"
#include "engine/engine.h"
#include "io/feature.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"

void methods_daemon_ping(struct manager *manager, struct call *call)
{
	(void)manager;
	if (params_unpack(call, "{}"))
		call_reply(call, json_pack("{s:b}", "pong", 1));
}

static json_t *features_json(uint32_t features)
{
	json_t *list = json_pack("[s, s]", "missing", "minor"); /* required, so always there */
	const char *name;
	uint32_t bit;

	for (uint32_t i = 0; (name = feature_name(i, &bit)) != NULL; i++) {
		if (features & bit)
			(void)json_array_append_new(list, json_string(name));
	}
	return list;
}

static json_t *store_json(const struct manager *manager)
{
	static const char *const kinds[] = {
		[SWAPFILE_UNNAMED] = "unnamed",
		[SWAPFILE_NAMED] = "file",
		[SWAPFILE_DEVICE] = "device",
	};
	const struct swapfile_config *store = &manager->config->store;

	return json_pack("{s:s, s:s, s:I, s:I, s:I}", "path", store->path, "kind",
		kinds[store->kind], "size_bytes", (json_int_t)engine_store_bytes(manager->engine),
		"used_bytes", (json_int_t)engine_store_used_bytes(manager->engine), "retired_bytes",
		(json_int_t)engine_store_retired_bytes(manager->engine));
}

static json_t *supervisor_json(const struct manager *manager)
{
	static const char *const upgrades[] = {
		[HANDOVER_UPGRADE_NONE] = "none",
		[HANDOVER_UPGRADE_DONE] = "done",
		[HANDOVER_UPGRADE_FAILED] = "failed",
	};
	struct keeper_info info;

	keeper_info(manager->keeper, &info);
	return json_pack("{s:i, s:i, s:I, s:s, s:s, s:s, s:b}", "supervisor_pid",
		(int)info.supervisor_pid, "worker_pid", (int)getpid(), "restarts",
		(json_int_t)info.restarts, "upgrade",
		upgrades[MIN(info.upgrade, HANDOVER_UPGRADE_FAILED)], "mode",
		manager->config->is_minimal ? "minimal" : "normal", "state_dir",
		manager->config->state_dir, "recoverable", (int)ledger_is_recoverable());
}

void methods_daemon_status(struct manager *manager, struct call *call)
{
	const struct config *config = manager->config;
	json_t *status;
	json_t *cpus;

	if (!params_unpack(call, "{}"))
		return;
	cpus = json_array();
	for (uint32_t i = 0; i < config->cpu_count; i++)
		(void)json_array_append_new(cpus, json_integer(config->cpus[i]));
	status = json_pack("{s:s, s:i, s:i, s:o, s:s, s:o, s:b, s:s, s:s, s:o, s:i, s:I}",
		"version", VMSWAP_VERSION, "pid", (int)getpid(), "shards", (int)config->shard_count,
		"cpus", cpus, "socket", config->socket_path, "store", store_json(manager),
		"encrypted", (int)engine_is_encrypted(manager->engine), "io",
		engine_io_refusal(manager->engine) == 0 ? "io_uring" : "threads", "seccomp",
		filter_mode_name(filter_mode()), "features",
		features_json(engine_features(manager->engine)), "vms", (int)manager->record_count,
		"uptime_s", (json_int_t)((clock_ns() - manager->started_ns) / NS_PER_S));
	(void)json_object_update_new(status, supervisor_json(manager));
	call_reply(call, status);
}

void methods_daemon_upgrade(struct manager *manager, struct call *call)
{
	const char *path = NULL;

	if (!params_unpack(call, "{s?s}", "path", &path))
		return;
	if (path && path[0] != '/')
		call_fail(call, CALL_INVALID_PARAMS, NULL, "path: must be absolute");
	else
		manager_begin_upgrade(manager, call, path);
}

void methods_daemon_shutdown(struct manager *manager, struct call *call)
{
	struct waiter waiter = {.kind = WAIT_SHUTDOWN, .call = call, .deadline_ns = UINT64_MAX};
	uint64_t missing = 0;
	int is_forced = 0;

	if (!params_unpack(call, "{s?b}", "force", &is_forced))
		return;
	if (!is_forced && !manager_may_shut_down(manager, &missing)) {
		call_fail(call, CALL_FAILED,
			json_pack("{s:I}", "missing_bytes", (json_int_t)missing),
			"the swapped memory does not fit into RAM: %" PRIu64
			" bytes are missing; nothing was changed",
			missing);
		return;
	}
	if (methods_add_waiter(manager, &waiter))
		manager_shut_down(manager);
}

void methods_job_list(struct manager *manager, struct call *call)
{
	json_t *jobs;

	if (!params_unpack(call, "{}"))
		return;
	jobs = json_array();
	for (uint32_t i = 0; i < manager->job_count; i++)
		(void)json_array_append_new(jobs, job_json(manager->job[i]));
	call_reply(call, json_pack("{s:o}", "jobs", jobs));
}

static struct job *find_job(struct manager *manager, struct call *call, json_int_t id)
{
	struct job *job = id > 0 ? manager_find_job(manager, (uint64_t)id) : NULL;

	if (!job)
		call_fail(call, CALL_NOT_FOUND, NULL, "no job %" JSON_INTEGER_FORMAT, id);
	return job;
}

void methods_job_cancel(struct manager *manager, struct call *call)
{
	json_int_t id;
	struct job *job;

	if (!params_unpack(call, "{s:I}", "job", &id))
		return;
	job = find_job(manager, call, id);
	if (!job)
		return;
	if (manager_cancel(manager, job))
		call_reply(call, json_object());
	else
		call_fail(call, CALL_FAILED, NULL, "job %" JSON_INTEGER_FORMAT " has ended", id);
}

void methods_job_wait(struct manager *manager, struct call *call)
{
	struct waiter waiter = {.kind = WAIT_JOB, .call = call};
	json_int_t timeout_ms = -1;
	json_int_t id;
	struct job *job;

	if (!params_unpack(call, "{s:I, s?I}", "job", &id, "timeout_ms", &timeout_ms))
		return;
	job = find_job(manager, call, id);
	if (!job)
		return;
	if (job_is_over(job)) {
		call_reply(call, job_json(job));
		return;
	}
	waiter.job_id = job->id;
	waiter.deadline_ns = methods_deadline(timeout_ms);
	(void)methods_add_waiter(manager, &waiter);
}

void methods_events_subscribe(struct manager *manager, struct call *call)
{
	if (!params_unpack(call, "{}"))
		return;
	call_subscribe(call);
	call_reply(call, json_object());
	/* Who subscribed to the workers before was cut off with them. */
	if (manager->config->is_minimal)
		manager_publish(manager, "mode", NULL, json_pack("{s:s}", "mode", "minimal"));
}
