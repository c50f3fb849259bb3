/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crosvm-style: threads, one a CPU, that copy batches of pages to staging and punch what they
 * copied. They live until the process ends.
 */
#ifndef VMSWAP_PERF_CONTESTANT_CROSVM_WORKERS_H
#define VMSWAP_PERF_CONTESTANT_CROSVM_WORKERS_H

#include <stdint.h>

#include "queue/base/bits.h"

/* Runs of pages with holes between them, which one punch covers. */
struct crosvm_batch {
	uint32_t count;
	uint32_t pages; /* of all runs, at most CHUNK_PAGES */
	struct {
		uint64_t offset;
		uint64_t size_bytes;
	} run[CHUNK_PAGES];
};

struct crosvm_workers;

/* NULL: no memory, or no threads. */
struct crosvm_workers *crosvm_workers_new(uint8_t *guest);
/* Waits for room in the queue. @batch is copied. */
void crosvm_workers_push(
	struct crosvm_workers *workers, uint8_t *staging, const struct crosvm_batch *batch);
/* Until all is done; the first error since the last time, or 0. */
int crosvm_workers_wait(struct crosvm_workers *workers);

#endif
