/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "ctl/attach.h"
#include "ctl/job.h"
#include "ctl/operation.h"
#include "ctl/worker.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

#define PENDING_MAX 4096u

struct worker {
	struct engine *engine;
	struct attachment attachment; /* vm and zap only */
	uint32_t process_count;
	uint32_t next_process;
	bool is_registered;
};

struct pending {
	struct worker *worker;
	struct job *job;
};

static struct pending pending[PENDING_MAX];
static uint32_t pending_count;

int worker_new(struct engine *engine, struct keeper *keeper, struct cleaner *cleaner,
	struct cmdq *results, struct worker **ret_worker)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	(void)keeper;
	(void)cleaner;
	(void)results;
	if (!worker)
		return -ENOMEM;
	worker->engine = engine;
	*ret_worker = worker;
	return 0;
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	ASSERT(worker->attachment.vm == NULL);
	free(worker);
}

void worker_submit(struct worker *worker, struct job *job)
{
	ASSERT(pending_count < PENDING_MAX);
	pending[pending_count++] = (struct pending){worker, job};
}

void worker_poke(struct worker *worker)
{
	ASSERT(worker != NULL);
}

struct engine *worker_engine(struct worker *worker)
{
	return worker->engine;
}

struct keeper *worker_keeper(struct worker *worker)
{
	(void)worker;
	return NULL;
}

struct cleaner *worker_cleaner(struct worker *worker)
{
	(void)worker;
	UNREACHABLE();
}

struct attachment *worker_attachment(struct worker *worker)
{
	return &worker->attachment;
}

bool worker_yield(struct worker *worker, const struct job *job)
{
	(void)worker;
	return !job_is_aborted(job);
}

bool worker_wait(struct worker *worker, const struct job *job, uint64_t until_ns)
{
	(void)until_ns;
	return worker_yield(worker, job);
}

static struct vm *make_vm(struct engine *engine)
{
	CLEANUP_FD int memfd = memfd_create("fuzz", MFD_CLOEXEC);
	const struct region_spec region = {.memfd = memfd, .size_bytes = 2 * MIB};
	const struct vm_config config = {.regions = &region, .region_count = 1};
	struct vm *vm = NULL;
	int rc;

	ASSERT(memfd >= 0);
	rc = ftruncate(memfd, 2 * MIB) == 0 ? vm_new(engine, &config, &vm) : -errno;
	ASSERT(rc == 0);
	return vm;
}

void fake_worker_warm(struct engine *engine)
{
	vm_free(make_vm(engine));
}

static void add_process(struct worker *worker, struct job *job, pid_t pid)
{
	struct process_info *info = &job->result.added[job->result.added_count++];

	*info = (struct process_info){
		.pid = pid,
		.pidfd = eventfd(0, EFD_CLOEXEC),
		.process = worker->next_process++,
	};
	ASSERT(info->pidfd >= 0);
	/* As in /proc: cut, and not always UTF-8. */
	(void)snprintf(info->comm, sizeof(info->comm), "q\xc3%d", (int)pid);
	worker->process_count++;
}

static void attach(struct worker *worker, struct job *job)
{
	worker->attachment.vm = make_vm(worker->engine);
	job->result.vm = worker->attachment.vm;
	job->result.region_count = 1;
	for (uint32_t i = 0; i < job->request.pid_count; i++)
		add_process(worker, job, job->request.pids[i]);
}

static void detach(struct worker *worker, const struct job *job)
{
	worker->is_registered = false;
	if (job->request.is_final)
		vm_free(take_pointer(&worker->attachment.vm));
}

static void run(struct worker *worker, struct job *job)
{
	switch (job->command) {
	case COMMAND_ATTACH: attach(worker, job); return;
	case COMMAND_DETACH: detach(worker, job); return;
	case COMMAND_ENABLE: worker->is_registered = true; return;
	case COMMAND_DISABLE: worker->is_registered = false; return;
	case COMMAND_ADD: add_process(worker, job, job->request.pids[0]); return;
	case COMMAND_REMOVE:
	case COMMAND_COLLECT: worker->process_count--; return;
	case COMMAND_TRIM:
	case COMMAND_SWAP_OUT:
	case COMMAND_SCRUB:
	case COMMAND_RECORD_START:
	case COMMAND_RECORD_STOP:
	case COMMAND_COUNT: return;
	}
	UNREACHABLE();
}

/* What the real worker cannot come to, whatever is asked. */
static enum outcome possible(const struct worker *worker, const struct job *job, enum outcome asked)
{
	if (job->request.is_final || job->command == COMMAND_COLLECT)
		return OUTCOME_DONE;
	if (!operation_is_short(job) && job_is_aborted(job))
		return OUTCOME_ABORTED;
	if (asked == OUTCOME_ABORTED)
		return OUTCOME_DONE;
	if (job->command == COMMAND_ADD && worker->process_count == PROCESSES_MAX)
		return OUTCOME_REFUSED;
	if (job->command == COMMAND_REMOVE && worker->process_count == 0)
		return OUTCOME_REFUSED;
	return asked;
}

struct job *fake_worker_run(enum outcome outcome)
{
	struct pending item = pending[0];
	struct job *job = item.job;

	ASSERT(outcome < OUTCOME_COUNT);
	if (pending_count == 0)
		return NULL;
	pending_count--;
	memmove(pending, pending + 1, pending_count * sizeof(pending[0]));
	job->result.outcome = possible(item.worker, job, outcome);
	if (job->result.outcome == OUTCOME_DONE)
		run(item.worker, job);
	else
		(void)problem_set(&job->result.problem, -EIO, "fuzz", "it was to fail");
	job->result.is_registered = item.worker->is_registered;
	job->result.zap = ZAP_INJECT;
	return job;
}
