/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#define options_parse  program_bench_parse
#define options_usage  program_bench_usage
#define placement_name program_bench_placement
#include "perf/bench/options.c" /* NOLINT(bugprone-suspicious-include) */

void program_bench(int count, char **argument)
{
	struct options options;
	bool is_over;

	if (options_parse(count, argument, &options, &is_over) != 0 || is_over)
		return;
	ASSERT(options.rounds >= 1 && options.rounds <= ROUNDS_MAX);
	ASSERT(options.size_bytes % CHUNK_BYTES == 0);
	ASSERT(options.size_bytes <= INT64_MAX);
	ASSERT(options.placement < PLACEMENT_COUNT);
}
