/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/operation.h"

#include <string.h>

#include "ctl/attach.h"
#include "ctl/debug.h"
#include "ctl/job.h"
#include "ctl/mappers.h"
#include "ctl/worker.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

/* Pages of the finished dispatch move from the live counter to the sum. */
static void fold_progress(struct job *job, uint64_t pages)
{
	(void)atomic_fetch_add_explicit(&job->base_pages, pages, memory_order_relaxed);
	atomic_store_explicit(&job->control.pages_done, 0, memory_order_relaxed);
	atomic_store_explicit(&job->control.chunks_done, 0, memory_order_relaxed);
}

int operation_dispatch(
	struct job *job, struct vm *vm, enum chunk_op op, struct dispatch_result *ret_result)
{
	return operation_dispatch_range(job, vm, op, NULL, ret_result);
}

int operation_dispatch_range(struct job *job, struct vm *vm, enum chunk_op op,
	const struct chunk_range *range, struct dispatch_result *ret_result)
{
	struct dispatch_result result;
	int rc;

	memset(&result, 0, sizeof(result));
	rc = vm_dispatch(vm, op, range, &job->control, &result);
	fold_progress(job, result.pages);
	job->result.pages += result.pages;
	job->result.zero_pages += result.zero_pages;
	job->result.clean_pages += result.clean_pages;
	job->result.bytes += result.bytes;
	job->result.bad_pages += result.bad_pages;
	job->result.mended_pages += result.mended_pages;
	job->result.left_pages =
		result.left_pages; /* what stayed in earlier rounds was tried again */
	*ret_result = result;
	return rc;
}

int operation_check_mappers(struct worker *worker, struct job *job)
{
	int rc;

	job_set_phase(job, PHASE_MAPPERS);
	rc = mappers_check(worker_attachment(worker), &job->result);
	if (rc < 0)
		job->result.outcome = OUTCOME_REFUSED;
	return rc;
}

void operation_expect(struct job *job, uint64_t pages)
{
	atomic_store_explicit(&job->pages_total, pages, memory_order_relaxed);
}

bool operation_is_short(const struct job *job)
{
	return job->command == COMMAND_ADD || job->command == COMMAND_REMOVE ||
	       job->command == COMMAND_COLLECT || job->command == COMMAND_RECORD_START ||
	       job->command == COMMAND_RECORD_STOP;
}

/* What went wrong while nothing in the target was changed. */
static bool is_failure(int error)
{
	return error == -ENOMEM || error == -ETIMEDOUT || error == -EIO || error == -EMFILE ||
	       error == -ENFILE;
}

static int run_attach(struct worker *worker, struct job *job)
{
	int rc;

	if (job->request.adopted)
		return attach_take(job, worker_attachment(worker));
	rc = attach_open(
		worker_engine(worker), worker_keeper(worker), job, worker_attachment(worker));
	if (rc < 0 && rc != -ECANCELED && !is_failure(rc))
		job->result.outcome = OUTCOME_REFUSED;
	return rc;
}

static int run_detach(struct worker *worker, struct job *job)
{
	struct attachment *attachment = worker_attachment(worker);

	if (job->request.is_final) {
		attach_close(attachment);
		return 0;
	}
	if (!attach_any_alive(attachment))
		return 0;
	return disable_run(worker, job);
}

static int run(struct worker *worker, struct job *job)
{
	struct attachment *attachment = worker_attachment(worker);

	switch (job->command) {
	case COMMAND_ENABLE: return enable_run(worker, job);
	case COMMAND_TRIM:
	case COMMAND_SWAP_OUT: return evict_run(worker, job);
	case COMMAND_SCRUB: return scrub_run(worker, job);
	case COMMAND_DISABLE: return disable_run(worker, job);
	case COMMAND_ADD: return attach_add(attachment, job);
	case COMMAND_REMOVE: return attach_remove(attachment, job);
	case COMMAND_COLLECT: attach_collect(attachment, job->request.process); return 0;
	case COMMAND_RECORD_START: return debug_record_start(attachment, job);
	case COMMAND_RECORD_STOP: return debug_record_stop(attachment, job);
	case COMMAND_DETACH: return run_detach(worker, job);
	case COMMAND_ATTACH: return run_attach(worker, job);
	case COMMAND_COUNT: break;
	}
	UNREACHABLE();
}

void operation_run(struct worker *worker, struct job *job)
{
	const struct attachment *attachment = worker_attachment(worker);
	int rc;

	/* A long one that was superseded before it began. */
	if (!operation_is_short(job) && !job->request.is_final && job_is_aborted(job)) {
		job->result.outcome = OUTCOME_ABORTED;
		rc = -ECANCELED;
	} else {
		job->result.outcome = OUTCOME_DONE;
		rc = run(worker, job);
	}
	ASSERT(rc <= 0);
	if (rc == -ECANCELED)
		job->result.outcome = OUTCOME_ABORTED;
	else if (rc < 0 && job->result.outcome != OUTCOME_REFUSED)
		job->result.outcome = OUTCOME_FAILED;
	ASSERT(rc == 0 || rc == -ECANCELED || job->result.problem.text[0] != '\0');
	job->result.is_registered = attachment->vm && vm_is_registered(attachment->vm);
	job->result.zap = attachment->zap;
}
