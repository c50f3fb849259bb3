/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stalls of a guest: how long a thread that does nothing but touch pages was kept from its next
 * touch, whatever kept it: a fault, a stop, a lock.
 */
#ifndef VMSWAP_PERF_BENCH_GAP_H
#define VMSWAP_PERF_BENCH_GAP_H

#include <stdint.h>

#include "perf/client/client.h"

/* The longest time between the ends of neighbouring touches of one thread's samples. */
uint64_t gap_longest_us(const struct touch_result *result);
/*
 * The longest gap in each of @count buckets of @bucket_us from the first touch on, into @ret_us.
 */
void gap_timeline(
	const struct touch_result *result, uint32_t bucket_us, uint32_t count, double *ret_us);

#endif
