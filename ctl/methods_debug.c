/* SPDX-License-Identifier: Apache-2.0 */
/* debug.*: there only with --debug. */
#include <limits.h>
#include <string.h>

#include "ctl/call.h"
#include "ctl/debug.h"
#include "ctl/manager.h"
#include "ctl/methods_priv.h"
#include "ctl/params.h"
#include "engine/engine.h"

/* A short job on the VM that "vm" names, or NULL with the call answered. */
static struct job *new_job(struct manager *manager, struct call *call, const char *name,
	enum command command, struct record **ret_record)
{
	struct record *record = methods_find_vm(manager, call, name);

	if (!record)
		return NULL;
	if (record->leave_reason) {
		call_fail(call, CALL_ILLEGAL_STATE, methods_state_json(record, call),
			"%s is not legal: detach in progress", call_method(call));
		return NULL;
	}
	if (record->short_count >= RECORD_SHORT_MAX) {
		call_fail(call, CALL_BUSY, NULL, "too much is being done with %s", name);
		return NULL;
	}
	*ret_record = record;
	return methods_new_job(manager, record, call, command);
}

static void start(
	struct manager *manager, struct record *record, struct call *call, struct job *job)
{
	methods_wait_for_command(manager, call, job, -1);
	manager_start(manager, record, job);
}

void methods_debug_record_start(struct manager *manager, struct call *call)
{
	struct record *record;
	json_int_t capacity = 0;
	const json_t *given = json_object_get(call_params(call), "capacity");
	const char *name;
	struct job *job;

	if (!params_unpack(call, "{s:s, s?I}", "vm", &name, "capacity", &capacity) ||
		(given && !params_check_range(
				  call, "capacity", capacity, 1, (json_int_t)RECORDER_FAULTS_MAX)))
		return;
	job = new_job(manager, call, name, COMMAND_RECORD_START, &record);
	if (!job)
		return;
	job->request.capacity = (uint64_t)capacity;
	start(manager, record, call, job);
}

void methods_debug_record_stop(struct manager *manager, struct call *call)
{
	struct record *record;
	const char *name;
	const char *path;
	struct job *job;

	if (!params_unpack(call, "{s:s, s:s}", "vm", &name, "path", &path))
		return;
	if (path[0] != '/' || strlen(path) >= PATH_MAX) {
		call_fail(call, CALL_INVALID_PARAMS, NULL,
			"path: an absolute path of less than %d bytes is expected", PATH_MAX);
		return;
	}
	job = new_job(manager, call, name, COMMAND_RECORD_STOP, &record);
	if (!job)
		return;
	job->request.path = strdup(path);
	if (!job->request.path) {
		job_free(job); /* such jobs are not listed: nobody else knows it */
		call_fail(call, CALL_INTERNAL_ERROR, NULL, "no memory");
		return;
	}
	start(manager, record, call, job);
}
