/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recording the faults of a VM, for debugging and for benchmarks that repeat them. A part of
 * engine/engine.h, whose rules on threads hold here as well.
 *
 * Each shard appends to a buffer of its own that was allocated, and put into RAM, before the shard
 * got it; what does not fit is counted. The buffer comes and goes with COMMAND_RECORD, so it is
 * never taken away under a shard that is serving a fault:
 *
 *   start   buffers made ──command──► shards record      stop   ──command──► shards forget; then
 *                                                               the buffers are read and freed
 *
 * While a VM is recorded its faults bring no neighbours: a page that came with another would be
 * touched unseen.
 */
#ifndef VMSWAP_ENGINE_RECORDER_H
#define VMSWAP_ENGINE_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/stats.h"

struct vm;

/* Faults kept of one VM, over all shards: 64 MiB. */
#define RECORDER_FAULTS_MAX (4u << 20)

/* A fault that was served. */
struct recorded_fault {
	uint64_t time_ns; /* from the start of the recording to the reading of the message */
	uint32_t page;	  /* counted without the padding between regions: below vm_pages() */
	uint8_t kind;	  /* enum latency */
	bool is_write;
	uint16_t unused;
};
_Static_assert(sizeof(struct recorded_fault) == 16, "four a cache line");

struct recording {
	struct recorded_fault *fault; /* by time; malloc'ed, the caller frees it */
	uint64_t count;
	uint64_t dropped; /* did not fit */
};

/*
 * Records every fault from now on, @capacity of them at most, each shard its equal share; 0: as
 * many as the VM has pages. No more than RECORDER_FAULTS_MAX in any case. -EALREADY; -EFBIG: the VM
 * has more pages than can be told; -ENOMEM.
 */
int vm_record_start(struct vm *vm, uint64_t capacity);
/* Ends it. -ENODATA: there is none; -ENOMEM: it goes on. */
int vm_record_stop(struct vm *vm, struct recording *ret_recording);
bool vm_is_recorded(const struct vm *vm);

/* A shard's buffer. The shard's own while it has it. */
struct recorder {
	struct recorded_fault *fault;
	uint32_t capacity;
	uint32_t count;
	uint64_t dropped;
	uint64_t start_ns;
};

/* Counts a fault that was read at @read_ns and is served by now. Owner thread. */
static inline void recorder_add(struct recorder *recorder, enum latency kind, uint64_t page,
	bool is_write, uint64_t read_ns)
{
	if (recorder->count == recorder->capacity) {
		recorder->dropped++;
		return;
	}
	recorder->fault[recorder->count++] = (struct recorded_fault){
		/* read before the start, served after it: at the start */
		.time_ns = read_ns > recorder->start_ns ? read_ns - recorder->start_ns : 0,
		.page = (uint32_t)page,
		.kind = (uint8_t)kind,
		.is_write = is_write,
	};
}

/* The VM goes, and nobody serves it any more. */
void recorder_discard(struct vm *vm);

#endif
