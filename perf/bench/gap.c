/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/gap.h"

#include <string.h>

#include "queue/base/bits.h"

static uint64_t end_us(const struct touch_result *result, uint64_t sample)
{
	return result->begin_us[sample] + result->latency_ns[sample] / 1000;
}

uint64_t gap_longest_us(const struct touch_result *result)
{
	uint64_t longest = 0;

	for (uint64_t i = 1; i < result->samples; i++)
		longest = MAX(longest, end_us(result, i) - end_us(result, i - 1));
	return longest;
}

void gap_timeline(
	const struct touch_result *result, uint32_t bucket_us, uint32_t count, double *ret_us)
{
	memset(ret_us, 0, count * sizeof(*ret_us));
	for (uint64_t i = 1; i < result->samples; i++) {
		const uint64_t gap = end_us(result, i) - end_us(result, i - 1);
		const uint64_t bucket = end_us(result, i) / bucket_us;

		if (bucket < count)
			ret_us[bucket] = MAX(ret_us[bucket], (double)gap);
	}
}
