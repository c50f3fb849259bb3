/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trim and swap-out. One round goes over all chunks and moves what may move; chunks whose dwell is
 * not over are refused and come in a later round. Pages that were touched meanwhile are hot: they
 * stay and are not tried again. Nobody stages while this runs, so the last dwell ends a known time
 * after the start.
 */
#include <string.h>

#include "ctl/attach.h"
#include "ctl/job.h"
#include "ctl/operation.h"
#include "ctl/problem.h"
#include "ctl/worker.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* Dwells end one after the other; each round takes all that ended in between. */
#define ROUND_GAP_NS (500 * NS_PER_MS)
/* Past the last dwell: a round may take this long to notice. */
#define ROUND_SLACK_NS (10 * NS_PER_S)

static int describe_error(struct job *job, int error)
{
	static const struct {
		int error;
		const char *reason;
		const char *text;
	} known[] = {
		{-ENOSPC, "store-full", "the swap store is full"},
		{-EDQUOT, "store-full", "the quota of the swap store is used up"},
		{-ESTALE, "memory-truncated", "the VMM has truncated its memory"},
		{0, "write-error", "pages could not be written to the swap store"},
	};
	size_t i = 0;

	ASSERT(error < 0);
	while (known[i].error != 0 && known[i].error != error)
		i++;
	return problem_set(&job->result.problem, error, known[i].reason,
		"%s (%s): %llu pages of %s stay in RAM", known[i].text, strerror(-error),
		(unsigned long long)job->result.left_pages, job->vm_name);
}

static int wait_until(struct worker *worker, struct job *job, uint64_t until_ns)
{
	if (until_ns <= clock_ns())
		return worker_yield(worker, job) ? 0 : -ECANCELED;
	atomic_store_explicit(&job->ready_ns, until_ns, memory_order_relaxed);
	job_set_phase(job, PHASE_DWELL);
	return worker_wait(worker, job, until_ns) ? 0 : -ECANCELED;
}

static int run_round(struct worker *worker, struct job *job, uint64_t *ret_next_ns)
{
	struct attachment *attachment = worker_attachment(worker);
	bool is_trim = job->command == COMMAND_TRIM;
	struct dispatch_result result;
	int rc;

	/* A process may come while we wait for its dwell, and then another. */
	do {
		rc = wait_until(worker, job, attachment->quiet_until_ns);
		if (rc < 0)
			return rc;
	} while (attachment->quiet_until_ns > clock_ns());
	rc = operation_check_mappers(worker, job);
	if (rc < 0)
		return rc;
	job_set_phase(job, is_trim ? PHASE_DROPPING : PHASE_WRITING);
	rc = operation_dispatch(job, attachment->vm, is_trim ? CHUNK_TRIM : CHUNK_OUT, &result);
	if (rc < 0)
		return rc;
	if (result.error < 0)
		return describe_error(job, result.error);
	*ret_next_ns = result.next_ready_ns;
	return 0;
}

int evict_run(struct worker *worker, struct job *job)
{
	const struct attachment *attachment = worker_attachment(worker);
	uint64_t end_ns = clock_ns() + attachment->dwell_ms * NS_PER_MS + ROUND_SLACK_NS;
	struct vm_stats stats;
	uint64_t next_ns = 0;
	int rc;

	vm_stats_read(attachment->vm, &stats);
	operation_expect(job, stats.staging_pages);
	for (;;) {
		rc = run_round(worker, job, &next_ns);
		if (rc < 0 || next_ns == 0)
			return rc;
		end_ns = MAX(end_ns, attachment->quiet_until_ns + ROUND_SLACK_NS);
		if (clock_ns() > end_ns)
			return 0; /* left_pages says what stayed */
		rc = wait_until(worker, job, MAX(next_ns, clock_ns() + ROUND_GAP_NS));
		if (rc < 0)
			return rc;
	}
}
