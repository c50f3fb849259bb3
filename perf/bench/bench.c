/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/bench.h"

#include <stdio.h>
#include <string.h>

#include "perf/bench/results.h"
#include "perf/bench/row.h"
#include "perf/contestant/contestant.h"
#include "queue/base/bits.h"

bool bench_wants(const struct bench *bench, const char *id)
{
	const char *list = bench->options.only;
	const size_t length = strlen(id);

	if (!list)
		return true;
	for (;;) {
		const char *end = strchrnul(list, ',');

		if ((size_t)(end - list) == length && strncmp(list, id, length) == 0)
			return true;
		if (*end == '\0')
			return false;
		list = end + 1;
	}
}

void bench_add(struct bench *bench, const struct row *row)
{
	if (!bench_wants(bench, row->id))
		return;
	row_print(row);
	results_add_row(bench->results, row_json(row));
	bench->rows++;
}

void bench_skip(struct bench *bench, const char *what, const char *why)
{
	(void)fprintf(stderr, "vmswap-bench: SKIPPED %s: %s\n", what, why);
	results_add_skipped(bench->results, what, why);
	bench->skipped++;
}

void bench_fail(struct bench *bench, const char *what, const char *why)
{
	(void)fprintf(stderr, "vmswap-bench: FAILED %s: %s\n", what, why);
	bench->failures++;
}

void bench_setup(const struct bench *bench, uint64_t size_bytes, struct contestant_setup *ret_setup)
{
	*ret_setup = (struct contestant_setup){
		.client = {.pages = size_bytes / PAGE_BYTES},
		.shards = 1,
		.directory = bench->options.directory,
		.daemon = bench->options.daemon,
		.is_encrypted = bench->options.is_encrypted,
	};
}

uint64_t bench_size(const struct bench *bench, uint64_t quick_bytes, uint64_t full_bytes)
{
	if (bench->options.size_bytes > 0)
		return bench->options.size_bytes;
	return bench->options.is_full ? full_bytes : quick_bytes;
}
