/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/command/growth.h"

#include <stdio.h>

#include "perf/bench/bench.h"
#include "perf/bench/host.h"
#include "perf/bench/place.h"
#include "perf/bench/progress.h"
#include "perf/bench/row.h"
#include "perf/command/herd.h"
#include "queue/base/bits.h"

#define SHARDS	2u
#define THREADS 16u
/* Touched pages of all VMs together. */
#define TOUCHES 65536u

enum growth_metric {
	GROWTH_FAULTS,
	GROWTH_OUT,
	GROWTH_STATUS,
	GROWTH_METRICS,
};

/* A shape of the host's load; parts of P15 are named by it. */
struct shape {
	const char *name;
	uint32_t vms;
	uint64_t gib; /* of each VM; 0: a quarter of one */
};

static const struct shape base_size = {"1 GiB", 1, 1};
static const struct shape base_count = {"1 VM", 1, 0};
static const struct shape sizes[] = {{"4 GiB", 1, 4}, {"16 GiB", 1, 16}};
static const struct shape counts[] = {{"4 VMs", 4, 0}, {"16 VMs", 16, 0}};

static int measure_open(struct herd *herd, uint32_t round, double *ret_values)
{
	uint64_t ns;
	uint64_t bytes;
	int error = herd_run(herd, "vm.enable", &ns, &bytes);

	if (error == 0)
		error = herd_touch(herd, THREADS, TOUCHES / herd->count, round + 1,
			&ret_values[GROWTH_FAULTS]);
	if (error == 0)
		error = herd_status(herd, &ret_values[GROWTH_STATUS]);
	if (error == 0)
		error = herd_run(herd, "vm.enable", &ns, &bytes);
	if (error == 0)
		error = herd_run(herd, "vm.swap_out", &ns, &bytes);
	if (error == 0)
		ret_values[GROWTH_OUT] = (double)bytes / (double)ns;
	return error;
}

/* A daemon of its own each time: nothing is left of the shape before. */
static int measure(
	struct bench *bench, const struct shape *shape, uint32_t round, double *ret_values)
{
	const uint64_t size_bytes = shape->gib > 0 ? shape->gib * GIB : GIB / 4;
	const struct client_config config = {.pages = size_bytes / PAGE_BYTES};
	struct herd herd;
	int error;

	progress_step("growth: round %u, %s", round + 1, shape->name);
	error = herd_open(&herd, bench, shape->vms, SHARDS, &config);
	if (error == 0)
		error = measure_open(&herd, round, ret_values);
	if (error < 0)
		bench_fail(bench, shape->name, herd.why);
	herd_close(&herd);
	return error;
}

/* One round: the base, then each shape; adds to the rows, GROWTH_METRICS a shape. */
static int run_round(struct bench *bench, const struct shape *base, const struct shape *shapes,
	uint32_t count, uint32_t round, struct row *rows)
{
	double reference[GROWTH_METRICS];
	double value[GROWTH_METRICS];
	struct host_load load;
	int error;

	host_load_begin(&load);
	error = measure(bench, base, round, reference);
	for (uint32_t i = 0; i < count && error == 0; i++) {
		error = measure(bench, &shapes[i], round, value);
		for (uint32_t metric = 0; metric < GROWTH_METRICS && error == 0; metric++)
			row_add(&rows[i * GROWTH_METRICS + metric], value[metric],
				reference[metric], host_load_foreign(&load) > 0.1);
	}
	return error;
}

static void run(struct bench *bench, const struct shape *base, const struct shape *shapes,
	uint32_t count, uint32_t rounds)
{
	static const char *const name[GROWTH_METRICS] = {"faults", "swap-out", "status"};
	static const char *const unit[GROWTH_METRICS] = {"faults/s", "GB/s", "us"};
	char part[ARRAY_SIZE(sizes) * GROWTH_METRICS][32];
	struct row rows[ARRAY_SIZE(sizes) * GROWTH_METRICS] = {0};

	for (uint32_t i = 0; i < count * GROWTH_METRICS; i++) {
		(void)snprintf(part[i], sizeof(part[i]), "%s %s", name[i % GROWTH_METRICS],
			shapes[i / GROWTH_METRICS].name);
		rows[i].id = "P15";
		rows[i].part = part[i];
		rows[i].what = "growth of cost with size and number of VMs";
		rows[i].subject = shapes[i / GROWTH_METRICS].name;
		rows[i].reference = base->name;
		rows[i].unit = unit[i % GROWTH_METRICS];
		rows[i].placement = placement_name(PLACEMENT_NONE);
	}
	for (uint32_t round = 0; round < rounds; round++)
		if (run_round(bench, base, shapes, count, round, rows) < 0)
			return;
	for (uint32_t i = 0; i < count * GROWTH_METRICS; i++)
		bench_add(bench, &rows[i]);
}

void growth_run(struct bench *bench)
{
	_Static_assert(ARRAY_SIZE(sizes) == ARRAY_SIZE(counts), "run() has room for either");
	if (!bench->options.is_full && !bench->options.only) {
		bench_skip(bench, "P15", "takes minutes; run it with --full or --only P15");
		return;
	}
	run(bench, &base_count, counts, ARRAY_SIZE(counts), bench->options.rounds);
	run(bench, &base_size, sizes, ARRAY_SIZE(sizes), bench->options.rounds);
}
