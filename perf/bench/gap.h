/* SPDX-License-Identifier: Apache-2.0 */
/* Stalls of a guest, from the samples of a client that watches itself (struct touch, is_watch). */
#ifndef VMSWAP_PERF_BENCH_GAP_H
#define VMSWAP_PERF_BENCH_GAP_H

#include <stdint.h>

#include "perf/client/client.h"

/* The longest; 0: none was as long as CLIENT_STALL_US. */
double gap_longest_us(const struct touch_result *result);
/* The longest that ended in each of @count buckets of @bucket_us from the first touch on. */
void gap_timeline(
	const struct touch_result *result, uint32_t bucket_us, uint32_t count, double *ret_us);

#endif
