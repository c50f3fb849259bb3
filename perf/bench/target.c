/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/target.h"

#include <stdio.h>
#include <string.h>

#include "queue/base/bits.h"

static const struct target targets[] = {
	{"P1", "p50", "same", "staged fault p50, random / raw CONTINUE", true, 1.10, 0},
	{"P1", "p99", "same", "staged fault p99, random / raw CONTINUE", true, 1.25, 0},
	{"P2", NULL, "none", "faults/s, 64 threads, 2 shards / raw batched", false, 1.1, 1.3},
	{"P3", "raw", "same", "sequential staged pages/s / raw 16 pages", false, 0.9, 0},
	{"P3", "crosvm", "same", "sequential staged pages/s / crosvm-style", false, 6, 0},
	{"P4", "p50", "same", "disk fault p50 / kernel swap file", true, 0.90, 0},
	{"P4", "p99", "same", "disk fault p99 / kernel swap file", true, 1.0, 0},
	{"P5", "8 threads", "none", "disk faults/s / kernel swap file", false, 0.9, 1.0},
	{"P5", "32 threads", "none", "disk faults/s / kernel swap file", false, 0.9, 1.0},
	{"P6", "sequential", "none", "refill time / kernel swap file", true, 0.5, 0},
	{"P6", "recorded", "none", "refill time, repeated order / kernel", true, 0.5, 0},
	{"P7", "kernel", "none", "swap-out GB/s / kernel MADV_PAGEOUT", false, 2.0, 0},
	{"P7", "floor", "none", "swap-out GB/s / O_DIRECT write", false, 0.8, 0},
	{"P8", NULL, "none", "swap-in GB/s / O_DIRECT sequential read", false, 0.9, 0},
	{"P9", NULL, "none", "trim scan GB/s / crosvm-style", false, 1.5, 0},
	{"P10", NULL, "none", "longest stall of enable / crosvm-style freeze", true, 0.01, 0},
	{"P11", "swap-out", "none", "p99 staged fault beside it / idle", true, 5, 2},
	{"P11", "trim", "none", "p99 staged fault beside it / idle", true, 5, 2},
	{"P11", "swap-in", "none", "p99 staged fault beside it / idle", true, 5, 2},
	{"P12", "continue", "none", "shard CPU a staged fault / raw handler", true, 1.2, 0},
	{"P12", "copy", "none", "shard CPU a disk fault / raw COPY handler", true, 1.2, 0},
	{"P13", "resident", "none", "metadata B/page in RAM", true, 8, 0},
	{"P13", "swapped", "none", "metadata B/page out", true, 16, 0},
	{"P13", "sparse", "none", "daemon RSS / 1 TiB sparse VM", true, 0.0025, 0},
	{"P14", NULL, "none", "CPUs of an idle daemon, 4 VMs", true, 0.005, 0},
	{"P15", "faults 4 GiB", "none", "faults/s / at 1 GiB", false, 0.8, 0},
	{"P15", "faults 16 GiB", "none", "faults/s / at 1 GiB", false, 0.8, 0},
	{"P15", "swap-out 4 GiB", "none", "GB/s / at 1 GiB", false, 0.8, 0},
	{"P15", "swap-out 16 GiB", "none", "GB/s / at 1 GiB", false, 0.8, 0},
	{"P15", "status 4 GiB", "none", "status latency / at 1 GiB", true, 1.2, 0},
	{"P15", "status 16 GiB", "none", "status latency / at 1 GiB", true, 1.2, 0},
	{"P15", "faults 4 VMs", "none", "faults/s / with 1 VM", false, 0.8, 0},
	{"P15", "faults 16 VMs", "none", "faults/s / with 1 VM", false, 0.8, 0},
	{"P15", "swap-out 4 VMs", "none", "GB/s / with 1 VM", false, 0.8, 0},
	{"P15", "swap-out 16 VMs", "none", "GB/s / with 1 VM", false, 0.8, 0},
	{"P15", "status 4 VMs", "none", "status latency / with 1 VM", true, 1.2, 0},
	{"P15", "status 16 VMs", "none", "status latency / with 1 VM", true, 1.2, 0},
	{"P16", NULL, "same", "staged fault / zram-lz4 fault", true, 1.1, 0},
};

static bool is_same(const char *first, const char *second)
{
	return first == second || (first && second && strcmp(first, second) == 0);
}

const struct target *target_find(const char *id, const char *part, const char *placement)
{
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		if (is_same(targets[i].id, id) && is_same(targets[i].part, part) &&
			is_same(targets[i].placement, placement))
			return &targets[i];
	return NULL;
}

bool target_is_met(const struct target *target, double ratio)
{
	return target->is_ceiling ? ratio <= target->bound : ratio >= target->bound;
}

void target_text(const struct target *target, char *ret_text)
{
	(void)snprintf(ret_text, TARGET_TEXT_BYTES, "%s%g",
		target->is_ceiling ? "<=" : ">=", target->bound);
}

static const json_t *find_row(const json_t *results, const struct target *target)
{
	const json_t *rows = json_object_get(results, "rows");

	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);

		if (is_same(json_string_value(json_object_get(row, "id")), target->id) &&
			is_same(json_string_value(json_object_get(row, "part")), target->part) &&
			is_same(json_string_value(json_object_get(row, "placement")),
				target->placement))
			return row;
	}
	return NULL;
}

/* True when it was measured and is met. */
static bool print_one(const struct target *target, const json_t *row)
{
	const json_t *ratio = json_object_get(row, "ratio");
	const double median = json_number_value(json_object_get(ratio, "median"));
	const bool is_met = row && target_is_met(target, median);
	char text[TARGET_TEXT_BYTES];

	target_text(target, text);
	(void)printf("%-4s %-16s %-48s %-9s", target->id, target->part ? target->part : "",
		target->what, text);
	if (!row) {
		(void)printf(" not measured\n");
		return false;
	}
	(void)printf(" %8.3g [%.3g–%.3g] %d rounds, %s  %s%s\n", median,
		json_number_value(json_object_get(ratio, "min")),
		json_number_value(json_object_get(ratio, "max")),
		(int)json_integer_value(json_object_get(ratio, "rounds")), target->placement,
		is_met ? "met" : "MISSED",
		json_is_true(json_object_get(row, "noisy")) ? " (noisy)" : "");
	return is_met;
}

int target_print(const json_t *results)
{
	uint32_t met = 0;
	uint32_t measured = 0;

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		const json_t *row = find_row(results, &targets[i]);

		met += print_one(&targets[i], row);
		measured += row != NULL;
	}
	(void)printf("%u met, %u missed, %u not measured\n", met, measured - met,
		(uint32_t)ARRAY_SIZE(targets) - measured);
	return met == ARRAY_SIZE(targets) ? 0 : 1;
}
