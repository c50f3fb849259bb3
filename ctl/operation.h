/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands do, on the worker's thread. Each fills job->result; progress and the abort flag
 * are in the job. Order that is not optional (design.md 3, 1b): stage, zap, scan, settle.
 */
#ifndef VMSWAP_CTL_OPERATION_H
#define VMSWAP_CTL_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

struct job;
struct problem;
struct worker;

/* Runs the job to its end. */
void operation_run(struct worker *worker, struct job *job);
/* True for jobs that may run in the middle of another. */
bool operation_is_short(const struct job *job);

/*
 * The operations: 0, -ECANCELED after an abort, or -errno with job->result.problem. An operation
 * that ends before it changed anything sets job->result.outcome to OUTCOME_REFUSED.
 */
int enable_run(struct worker *worker, struct job *job);
/* trim and swap-out */
int evict_run(struct worker *worker, struct job *job);
/* disable, and the first half of detach */
int disable_run(struct worker *worker, struct job *job);

/* scrub */
int scrub_run(struct worker *worker, struct job *job);

/* vm_dispatch() over all chunks that the job's abort flag ends; adds to its result and progress. */
int operation_dispatch(
	struct job *job, struct vm *vm, enum chunk_op op, struct dispatch_result *ret_result);
int operation_dispatch_range(struct job *job, struct vm *vm, enum chunk_op op,
	const struct chunk_range *range, struct dispatch_result *ret_result);
/* Refuses when a process that is not attached maps the memory; tells which in the result. */
int operation_check_mappers(struct worker *worker, struct job *job);
/* Pages of the VM that were swapped, staged… : sets about how many will move. */
void operation_expect(struct job *job, uint64_t pages);

#endif
