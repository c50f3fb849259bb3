/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What encryption at rest costs: one daemon that encrypts against one that does not, on the way
 * out, on the way back, and in a fault from the disk.
 */
#include "perf/bench/bench.h"
#include "perf/bench/place.h"
#include "perf/bench/trial.h"
#include "queue/base/bits.h"

#define QUICK_BYTES   (256 * MIB)
#define FULL_BYTES    (2 * GIB)
#define QUICK_TOUCHES 4096u
#define FULL_TOUCHES  32768u

enum metric {
	OUT_RATE, /* GB/s */
	IN_RATE,
};

static double last_rate(const struct duel_side *side)
{
	return (double)side->contestant.moved_bytes / (double)side->contestant.moved_ns;
}

/* The first write to a place of a file costs more than the later ones: round 0 is done twice. */
static int trial_there_and_back(struct duel_side *side, uint32_t round)
{
	const struct contestant_operations *operations = side->contestant.operations;

	for (uint32_t i = round == 0 ? 0 : 1; i < 2; i++) {
		int error = trial_stage_dirty(side);

		if (!error)
			error = operations->evict(&side->contestant);
		if (error)
			return error;
		side->value[OUT_RATE][round] = last_rate(side);
		error = operations->restore(&side->contestant);
		if (error)
			return error;
		side->value[IN_RATE][round] = last_rate(side);
	}
	return 0;
}

/* The row of every command here; the part says which. */
static void add_row(const struct duel *duel, uint32_t metric, const char *part, const char *what,
	const char *unit)
{
	struct row row = {
		.id = "encrypt",
		.part = part,
		.what = what,
		.subject = "encrypted",
		.reference = "plain",
		.unit = unit,
		.placement = placement_name(PLACEMENT_NONE),
	};

	(void)duel_row(duel, metric, &row);
}

static void add_sides(struct duel *duel, duel_trial *trial, const void *argument)
{
	struct contestant_setup setup;

	bench_setup(duel->bench, bench_size(duel->bench, QUICK_BYTES, FULL_BYTES), &setup);
	setup.shards = 2;
	setup.is_encrypted = true;
	(void)duel_add(duel, "encrypted", &contestant_vmswapd, &setup, trial, argument);
	setup.is_encrypted = false;
	(void)duel_add(duel, "plain", &contestant_vmswapd, &setup, trial, argument);
	duel_run(duel);
}

static void run_bulk(struct bench *bench)
{
	struct duel duel;

	if (duel_begin(&duel, bench, "encryption, bulk") < 0)
		return;
	add_sides(&duel, trial_there_and_back, NULL);
	add_row(&duel, OUT_RATE, "swap-out", "swap-out with encryption, against without", "GB/s");
	add_row(&duel, IN_RATE, "swap-in", "swap-in with encryption, against without", "GB/s");
	duel_end(&duel);
}

static void run_faults(struct bench *bench)
{
	const struct touch_trial trial = {
		.kind = ORDER_UNIFORM,
		.count = bench->options.is_full ? FULL_TOUCHES : QUICK_TOUCHES,
		.threads = 1,
		.cpu = CLIENT_ANY_CPU,
	};
	struct duel duel;

	if (duel_begin(&duel, bench, "encryption, faults from disk") < 0)
		return;
	add_sides(&duel, trial_evicted, &trial);
	add_row(&duel, TOUCH_P50, "fault p50", "fault from disk with encryption, against without",
		"us");
	add_row(&duel, TOUCH_P99, "fault p99", "fault from disk with encryption, against without",
		"us");
	add_row(&duel, TOUCH_CPU, "fault CPU", "shard CPU of one, with encryption, against without",
		"us");
	duel_end(&duel);
}

void command_encrypt(struct bench *bench)
{
	run_bulk(bench);
	run_faults(bench);
}
