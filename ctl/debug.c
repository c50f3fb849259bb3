/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/debug.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/attach.h"
#include "ctl/job.h"
#include "ctl/problem.h"
#include "ctl/trace_file.h"
#include "queue/base/err.h"

int debug_record_start(struct attachment *attachment, struct job *job)
{
	const int rc = vm_record_start(attachment->vm, job->request.capacity);

	if (rc == -EALREADY)
		return problem_set(&job->result.problem, rc, DEBUG_IS_RECORDED,
			"the faults of %s are being recorded already", job->vm_name);
	if (rc < 0)
		return problem_set(&job->result.problem, rc, "record-failed",
			"the faults of %s cannot be recorded: %s", job->vm_name, strerror(-rc));
	return 0;
}

/* Ends the recording and fills the file behind @fd, which is taken over. */
static int stop(struct attachment *attachment, struct job *job, int fd)
{
	struct job_result *result = &job->result;
	struct recording recording;
	int rc = vm_record_stop(attachment->vm, &recording);

	if (rc < 0) {
		(void)close(fd);
		return problem_set(&result->problem, rc, "record-failed",
			"the recording of %s cannot be ended and goes on: %s", job->vm_name,
			strerror(-rc));
	}
	rc = trace_file_write(fd, &recording, vm_pages(attachment->vm));
	result->recorded = recording.count;
	result->dropped = recording.dropped;
	free(recording.fault);
	if (rc < 0)
		return problem_set(&result->problem, rc, "trace-file",
			"the recording of %s is lost: writing %s: %s", job->vm_name,
			job->request.path, strerror(-rc));
	return 0;
}

int debug_record_stop(struct attachment *attachment, struct job *job)
{
	const char *path = job->request.path;
	int fd;
	int rc;

	if (!vm_is_recorded(attachment->vm))
		return problem_set(&job->result.problem, -ENODATA, DEBUG_IS_NOT_RECORDED,
			"the faults of %s are not being recorded", job->vm_name);
	fd = trace_file_create(path);
	if (fd < 0)
		return problem_set(&job->result.problem, fd, "trace-file",
			"%s cannot be created: %s; the recording of %s goes on", path,
			strerror(-fd), job->vm_name);
	rc = stop(attachment, job, fd);
	if (rc < 0)
		(void)unlink(path); /* @control unlink */
	return rc;
}
