/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disable: what is out comes back, staged pages become resident, and the faults are the kernel's
 * again. Refused while nothing has changed when RAM does not suffice: half a guest in RAM helps
 * nobody.
 */
#include <inttypes.h>
#include <string.h>

#include "ctl/attach.h"
#include "ctl/children.h"
#include "ctl/cleaner.h"
#include "ctl/job.h"
#include "ctl/operation.h"
#include "ctl/problem.h"
#include "ctl/room.h"
#include "ctl/worker.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "queue/base/probe.h"

/* Reads that failed for want of memory or by a passing error are tried again. */
#define READ_ROUNDS_MAX 3u

/* What can come back: a page that is lost stays an error in the guest, with or without us. */
static uint64_t swapped_pages(const struct vm *vm)
{
	struct vm_stats stats;

	vm_stats_read(vm, &stats);
	return stats.swap_pages - MIN(stats.swap_pages, stats.count[STAT_poisoned_pages]);
}

static int check_room(struct attachment *attachment, struct job *job)
{
	const struct member *member = attach_any_alive(attachment);
	uint64_t pages = swapped_pages(attachment->vm);
	int rc;

	operation_expect(job, pages);
	if (!member)
		return 0;
	rc = room_check(member->target.pid, pages * PAGE_BYTES, &job->result.problem);
	if (rc < 0)
		job->result.outcome = OUTCOME_REFUSED;
	return rc;
}

static void name_missing(const struct vm *vm, struct job_result *result)
{
	uint64_t first = 0;
	uint64_t count = 0;

	for (; result->missing_count < MISSING_MAX; first += count) {
		if (vm_next_out(vm, first, &first, &count) < 0)
			return;
		result->missing[result->missing_count++] =
			(struct page_run){.first = first, .count = count};
	}
}

static enum chunk_op way_in(const struct job *job)
{
	return atomic_load_explicit(&job->gives_up, memory_order_relaxed) ? CHUNK_IN_OR_POISON
									  : CHUNK_IN;
}

static int read_back(struct worker *worker, struct job *job)
{
	struct attachment *attachment = worker_attachment(worker);
	struct dispatch_result result = {.error = 0};
	uint64_t left = swapped_pages(attachment->vm);

	job_set_phase(job, PHASE_READING);
	for (uint32_t i = 0; i < READ_ROUNDS_MAX && left > 0; i++) {
		int rc = operation_dispatch(job, attachment->vm, way_in(job), &result);

		if (rc < 0)
			return rc;
		if (!worker_yield(worker, job))
			return -ECANCELED;
		left = swapped_pages(attachment->vm);
	}
	if (left == 0 || !attach_any_alive(attachment))
		return 0;
	job->result.left_pages = left;
	name_missing(attachment->vm, &job->result);
	if (result.error == 0)
		result.error = -EIO;
	return problem_set(&job->result.problem, result.error, "read-error",
		"%" PRIu64 " pages of %s could not be brought back (%s), page %" PRIu64
		" first: they stay in the swap store",
		left, job->vm_name, strerror(-result.error), job->result.missing[0].first);
}

static int release(struct attachment *attachment, struct job *job)
{
	struct vm *vm = attachment->vm;
	struct dispatch_result result;
	int rc;

	job_set_phase(job, PHASE_RELEASING);
	(void)vm_dispatch(vm, CHUNK_RELEASE, NULL, NULL, &result);
	PROBE(disable, released);
	rc = vm_unregister(vm);
	if (rc < 0 && attach_any_alive(attachment))
		return problem_set(&job->result.problem, rc, "unregister-failed",
			"the faults of %s cannot be given back: %s", job->vm_name, strerror(-rc));
	if (rc == 0)
		children_forget(&attachment->ledger);
	return 0;
}

static void clean_up(struct worker *worker, const struct job *job)
{
	if (atomic_load_explicit(&job->slow_cleanup, memory_order_relaxed))
		cleaner_begin_slow(worker_cleaner(worker));
	else
		cleaner_run(worker_cleaner(worker));
}

int disable_run(struct worker *worker, struct job *job)
{
	struct attachment *attachment = worker_attachment(worker);
	int rc = 0;

	ASSERT(attachment->vm != NULL);
	if (vm_is_registered(attachment->vm)) {
		rc = check_room(attachment, job);
		if (rc == 0)
			rc = read_back(worker, job);
		PROBE(disable, read);
		if (rc == 0)
			rc = release(attachment, job);
	}
	PROBE(disable, unregistered);
	if (rc == 0)
		clean_up(worker, job);
	return rc;
}
