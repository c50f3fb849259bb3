/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/attach.h"
#include "ctl/job.h"
#include "ctl/operation.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/cmdq.h"

#define INBOX_LANE 0
/* Pokes travel in the inbox too. */
#define INBOX_CAPACITY (2 * WORKER_JOBS_MAX)
#define WAIT_MAX_MS    60000

struct worker {
	/* constant after worker_new() */
	struct engine *engine;
	struct keeper *keeper;
	struct cleaner *cleaner;
	struct cmdq *results;
	struct cmdq *inbox;
	pthread_t thread;
	/* worker's thread only */
	struct attachment attachment;
	struct job *waiting[WORKER_JOBS_MAX]; /* long jobs, in the order they came */
	uint32_t waiting_count;
};

/* An item of the inbox that says: look at the abort flag. */
static int poke_item;

struct engine *worker_engine(struct worker *worker)
{
	return worker->engine;
}

struct keeper *worker_keeper(struct worker *worker)
{
	return worker->keeper;
}

struct cleaner *worker_cleaner(struct worker *worker)
{
	return worker->cleaner;
}

struct attachment *worker_attachment(struct worker *worker)
{
	return &worker->attachment;
}

/* The results queue holds every job that control lets exist. */
static void hand_back(struct worker *worker, struct job *job)
{
	bool is_pushed = cmdq_push_mpmc(worker->results, WORKER_RESULT_LANE, job);

	ASSERT(is_pushed);
}

static void run_and_hand_back(struct worker *worker, struct job *job)
{
	operation_run(worker, job);
	hand_back(worker, job);
}

/* In the middle of a long job: a short one runs now, a long one waits for its turn. */
static void take_item(struct worker *worker, void *item)
{
	struct job *job = item;

	if (item == &poke_item)
		return;
	if (operation_is_short(job)) {
		run_and_hand_back(worker, job);
		return;
	}
	ASSERT(worker->waiting_count < WORKER_JOBS_MAX);
	worker->waiting[worker->waiting_count++] = job;
}

bool worker_yield(struct worker *worker, const struct job *job)
{
	void *item;

	while ((item = cmdq_pop_mpmc(worker->inbox, INBOX_LANE)) != NULL)
		take_item(worker, item);
	return !job_is_aborted(job);
}

bool worker_wait(struct worker *worker, const struct job *job, uint64_t until_ns)
{
	while (worker_yield(worker, job)) {
		uint64_t now_ns = clock_ns();
		uint64_t wait_ms;
		void *item;

		if (now_ns >= until_ns)
			return true;
		wait_ms = divide_up(until_ns - now_ns, NS_PER_MS);
		item = cmdq_wait(
			worker->inbox, INBOX_LANE, (int)MIN(wait_ms, (uint64_t)WAIT_MAX_MS));
		if (item)
			take_item(worker, item);
	}
	return false;
}

static struct job *next_job(struct worker *worker)
{
	void *item;

	if (worker->waiting_count > 0) {
		struct job *job = worker->waiting[0];

		worker->waiting_count--;
		memmove(worker->waiting, worker->waiting + 1,
			worker->waiting_count * sizeof(struct job *));
		return job;
	}
	do
		item = cmdq_wait(worker->inbox, INBOX_LANE, -1);
	while (!item || item == &poke_item);
	return item;
}

static void *worker_main(void *argument)
{
	struct worker *worker = argument;
	bool has_ended;

	do {
		struct job *job = next_job(worker);

		operation_run(worker, job);
		has_ended = worker->attachment.vm == NULL;
		ASSERT(!has_ended || worker->waiting_count == 0);
		hand_back(worker, job);
	} while (!has_ended);
	return NULL;
}

/* Signals are the control thread's. */
static int start_thread(struct worker *worker)
{
	sigset_t all;
	sigset_t before;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	/* @control clone3 clone mprotect set_robust_list rseq */
	rc = pthread_create(&worker->thread, NULL, worker_main, worker);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		(void)pthread_setname_np(worker->thread, "vm-worker");
	return -rc;
}

int worker_new(struct engine *engine, struct keeper *keeper, struct cleaner *cleaner,
	struct cmdq *results, struct worker **ret_worker)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int rc;

	if (!worker)
		return -ENOMEM;
	worker->engine = engine;
	worker->keeper = keeper;
	worker->cleaner = cleaner;
	worker->results = results;
	rc = cmdq_new(1, INBOX_CAPACITY, &worker->inbox);
	if (rc < 0) {
		free(worker);
		return rc;
	}
	rc = start_thread(worker);
	if (rc < 0) {
		cmdq_free(worker->inbox);
		free(worker);
		return rc;
	}
	*ret_worker = worker;
	return 0;
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	(void)pthread_join(worker->thread, NULL);
	cmdq_free(worker->inbox);
	free(worker);
}

void worker_submit(struct worker *worker, struct job *job)
{
	bool is_pushed = cmdq_push_mpmc(worker->inbox, INBOX_LANE, job);

	ASSERT(is_pushed);
}

void worker_poke(struct worker *worker)
{
	/* A full inbox has something that wakes the worker already. */
	(void)cmdq_push_mpmc(worker->inbox, INBOX_LANE, &poke_item);
}
