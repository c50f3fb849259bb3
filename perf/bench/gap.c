/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/gap.h"

#include <string.h>

#include "queue/base/bits.h"

double gap_longest_us(const struct touch_result *result)
{
	double longest = 0;

	for (uint64_t i = 0; i < result->samples; i++)
		longest = MAX(longest, (double)result->latency_ns[i] / 1000);
	return longest;
}

void gap_timeline(
	const struct touch_result *result, uint32_t bucket_us, uint32_t count, double *ret_us)
{
	memset(ret_us, 0, count * sizeof(*ret_us));
	for (uint64_t i = 0; i < result->samples; i++) {
		const double gap_us = (double)result->latency_ns[i] / 1000;
		const uint64_t bucket = (result->begin_us[i] + (uint64_t)gap_us) / bucket_us;

		if (bucket < count)
			ret_us[bucket] = MAX(ret_us[bucket], gap_us);
	}
}
