/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control worker of a VM: the one thread that changes it. It runs one job at a time, may
 * block, and hands each job back through the results queue. Short jobs (a process joins, leaves or
 * has died, faults are recorded) do not wait for a long one: it looks for them between its pieces
 * and during its dwell.
 *
 *   control ──inbox, one lane──► worker ──results, one lane for all──► control
 *
 * It ends by itself when after a job nothing is attached (attach failed, detach is complete).
 */
#ifndef VMSWAP_CTL_WORKER_H
#define VMSWAP_CTL_WORKER_H

#include <stdbool.h>
#include <stdint.h>

struct attachment;
struct cleaner;
struct cmdq;
struct engine;
struct job;
struct keeper;
struct worker;

/* Jobs on their way to one worker; control keeps to it, so that a push never fails. */
#define WORKER_JOBS_MAX 64u
/* Of the results queue. */
#define WORKER_RESULT_LANE 0

/* Starts the thread. -errno. */
int worker_new(struct engine *engine, struct keeper *keeper, struct cleaner *cleaner,
	struct cmdq *results, struct worker **ret_worker);
/* Joins the thread, which has ended or is about to. NULL is fine. */
void worker_free(struct worker *worker);

/* Control thread. The job is the worker's until it comes back. */
void worker_submit(struct worker *worker, struct job *job);
/* Control thread, after job->control.abort was set: ends a wait. */
void worker_poke(struct worker *worker);

/* For operations, on the worker's thread. */
struct engine *worker_engine(struct worker *worker);
struct keeper *worker_keeper(struct worker *worker);
struct cleaner *worker_cleaner(struct worker *worker);
struct attachment *worker_attachment(struct worker *worker);
/* Runs the short jobs that came meanwhile. False when @job was aborted. */
bool worker_yield(struct worker *worker, const struct job *job);
/* The same until clock_ns() is @until_ns or @job was aborted. */
bool worker_wait(struct worker *worker, const struct job *job, uint64_t until_ns);

#endif
