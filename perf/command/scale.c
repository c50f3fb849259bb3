/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many faulting threads.
 *
 *   P2   faults a second with 64 threads and 2 shards, against one descriptor read in batches
 *   P12  CPU of a staged fault there, against that handler's
 *
 * and the points that perf/scaling.py checks its model with.
 */
#include <stdio.h>

#include "perf/bench/bench.h"
#include "perf/bench/place.h"
#include "perf/bench/results.h"
#include "perf/bench/trial.h"
#include "queue/base/bits.h"

#define QUICK_BYTES (128 * MIB)
#define FULL_BYTES  GIB
#define THREADS	    64u

static void setup_for(const struct bench *bench, struct contestant_setup *ret_setup)
{
	bench_setup(bench, bench_size(bench, QUICK_BYTES, FULL_BYTES), ret_setup);
	place_handler(PLACEMENT_NONE, ret_setup);
}

static void run_threads(struct bench *bench)
{
	struct touch_trial trial = {
		.kind = ORDER_UNIFORM,
		.threads = THREADS,
		.cpu = CLIENT_ANY_CPU,
		.is_write = true,
	};
	struct row row = {
		.id = "P2",
		.what = "staged faults a second, 64 threads, 2 shards",
		.subject = "vmswapd",
		.reference = "raw-batch",
		.unit = "faults/s",
		.placement = placement_name(PLACEMENT_NONE),
	};
	struct contestant_setup setup;
	struct contestant_setup raw;
	struct duel duel;

	if (duel_begin(&duel, bench, "staged faults, 64 threads") < 0)
		return;
	setup_for(bench, &setup);
	trial.count = setup.client.pages;
	raw = setup;
	setup.shards = 2;
	raw.option = "batch";
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_staged, &trial);
	(void)duel_add(&duel, "raw-batch", &contestant_raw, &raw, trial_staged, &trial);
	raw.option = NULL;
	if (bench->options.is_full)
		(void)duel_add(
			&duel, "crosvm-style", &contestant_crosvm, &raw, trial_staged, &trial);
	duel_run(&duel);
	(void)duel_row(&duel, TOUCH_RATE, &row);
	row.id = "scale-crosvm";
	row.reference = "crosvm-style";
	(void)duel_row(&duel, TOUCH_RATE, &row);
	row.id = "P12";
	row.part = "continue";
	row.what = "shard CPU of a staged fault, 64 threads";
	row.reference = "raw-batch";
	row.unit = "us";
	(void)duel_row(&duel, TOUCH_CPU, &row);
	duel_end(&duel);
}

/* What a curve is of; the reference is beside it in each round. */
struct curve {
	const char *name;  /* of the series */
	const char *title; /* of its picture */
	duel_trial *trial;
	const char *reference;
	const struct contestant_operations *operations; /* of the reference */
	const char *option;
};

/* The median of the rounds, and their range. */
static json_t *point_of(struct duel_side *side, uint32_t rounds, uint32_t threads)
{
	const struct spread spread = spread_of(side->value[TOUCH_RATE], rounds);

	return json_pack("{s:i, s:f, s:f, s:f}", "threads", (int)threads, "faults_per_s",
		spread.median, "min", spread.min, "max", spread.max);
}

/* The last side is the reference. */
static void add_points(struct duel *duel, uint32_t threads, json_t *points, json_t *reference)
{
	for (uint32_t i = 0; i < duel->side_count; i++) {
		struct duel_side *side = &duel->side[i];
		json_t *point;

		if (side->is_out)
			continue;
		point = point_of(side, duel->rounds, threads);
		if (i == duel->side_count - 1) {
			(void)json_array_append_new(reference, point);
			continue;
		}
		(void)json_object_set_new(
			point, "shards", json_integer(side->contestant.setup.shards));
		(void)json_array_append_new(points, point);
	}
}

static void add_sides(struct duel *duel, const struct curve *curve, const struct touch_trial *trial)
{
	struct contestant_setup setup;

	setup_for(duel->bench, &setup);
	(void)duel_add(duel, "1 shard", &contestant_vmswapd, &setup, curve->trial, trial);
	setup.shards = 2;
	(void)duel_add(duel, "2 shards", &contestant_vmswapd, &setup, curve->trial, trial);
	setup_for(duel->bench, &setup);
	setup.option = curve->option;
	(void)duel_add(duel, curve->reference, curve->operations, &setup, curve->trial, trial);
}

static void run_curve(struct bench *bench, const struct curve *curve)
{
	static const uint32_t threads[] = {1, 2, 4, 8, 16, 32, 64};
	struct touch_trial trial = {
		.kind = ORDER_UNIFORM,
		.count = bench->options.is_full ? 65536 : 16384,
		.cpu = CLIENT_ANY_CPU,
	};
	json_t *points;
	json_t *reference;
	struct duel duel;

	if (duel_begin(&duel, bench, curve->name) < 0)
		return;
	points = json_array();
	reference = json_array();
	add_sides(&duel, curve, &trial);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		trial.threads = threads[i];
		duel_run(&duel);
		add_points(&duel, threads[i], points, reference);
	}
	duel_end(&duel);
	results_add_series(bench->results,
		json_pack("{s:s, s:s, s:s, s:o, s:{s:s, s:o}}", "name", curve->name, "kind",
			"points", "title", curve->title, "points", points, "reference", "name",
			curve->reference, "points", reference));
}

static const struct curve curves[] = {
	{"scale-staged", "Staged faults a second against faulting threads", trial_staged,
		"raw-batch", &contestant_raw, "batch"},
	{"scale-disk", "Faults from disk a second against faulting threads", trial_evicted,
		"kernel-swapfile", &contestant_swap, "file"},
};

void command_scale(struct bench *bench)
{
	run_threads(bench);
	if (!bench->options.is_full && !(bench->options.only && bench_wants(bench, "scale-curve")))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(curves); i++)
		run_curve(bench, &curves[i]);
}
