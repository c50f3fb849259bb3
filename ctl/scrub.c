/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scrub: every slot in use is read and checked, chunk by chunk, no faster than asked. It changes
 * no state, any other command on the VM ends it, and what it finds is in the job and its events.
 */
#include "ctl/attach.h"
#include "ctl/job.h"
#include "ctl/operation.h"
#include "ctl/worker.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

int scrub_run(struct worker *worker, struct job *job)
{
	struct vm *vm = worker_attachment(worker)->vm;
	const uint64_t rate = job->request.rate_bytes;
	uint64_t next_ns = clock_ns();
	struct vm_stats stats;
	uint32_t chunk = 0;

	ASSERT(rate > 0);
	vm_stats_read(vm, &stats);
	operation_expect(job, stats.swap_pages);
	job_set_phase(job, PHASE_CHECKING);
	for (; vm_next_stored(vm, chunk, &chunk) == 0; chunk++) {
		const struct chunk_range range = {.first = chunk, .count = 1};
		struct dispatch_result result;
		const int rc = operation_dispatch_range(job, vm, CHUNK_SCRUB, &range, &result);

		if (rc < 0)
			return rc;
		/* A chunk is 2 MiB at most: no overflow. What was late is not caught up with. */
		next_ns = MAX(next_ns + result.bytes * NS_PER_S / rate, clock_ns());
		if (!worker_wait(worker, job, next_ns))
			return -ECANCELED;
	}
	return 0;
}
