/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one CPU does with memory at best, over a buffer that should be far larger than its caches,
 * mapped by 4 KiB pages of shmem as a guest's memory is. The calling thread does it.
 */
#ifndef VMSWAP_PERF_FLOOR_MEMORY_H
#define VMSWAP_PERF_FLOOR_MEMORY_H

#include <stdint.h>

#include "perf/floor/pin.h"

struct floor_memory_job {
	uint64_t size_bytes; /* of the buffer, whole chunks; the copy needs it twice */
	uint32_t passes;     /* over the buffer, at least 1 */
	int cpu;	     /* or FLOOR_ANY_CPU */
};

struct floor_memory_result {
	uint64_t elapsed_ns; /* of all passes; the buffer is mapped and written before */
	uint64_t bytes;
};

/* All: -errno, -ENOMEM. */
/* Loads every byte, keeps none. */
int floor_memory_read(const struct floor_memory_job *job, struct floor_memory_result *ret_result);
/* memcpy() by chunks of 2 MiB into a buffer as large. */
int floor_memory_copy(const struct floor_memory_job *job, struct floor_memory_result *ret_result);
/* content_is_zero() of pages that are. */
int floor_memory_zero_scan(
	const struct floor_memory_job *job, struct floor_memory_result *ret_result);
/* content_digest() of every page. */
int floor_memory_digest(const struct floor_memory_job *job, struct floor_memory_result *ret_result);

/* GB/s are 10^9 bytes a second. */
double floor_memory_gb_per_s(const struct floor_memory_result *result);

#endif
