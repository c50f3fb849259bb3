/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P9: looking through staged memory for what need not be written, a quarter of it zero, against the
 * crosvm-style scan and against plain reads of as much memory; then the same over pages whose copy
 * on disk is still valid, where crosvm's design compares with the file.
 */
#include "perf/bench/bench.h"
#include "perf/bench/place.h"
#include "perf/bench/trial.h"
#include "perf/command/floors.h"
#include "queue/base/bits.h"

#define QUICK_BYTES  (256 * MIB)
#define FULL_BYTES   (2 * GIB)
#define ZERO_PERCENT 25u

/* What was looked at counts, not what was dropped. */
static void set_scan_rate(struct duel_side *side, uint32_t round)
{
	side->contestant.moved_bytes = side->contestant.setup.client.pages * PAGE_BYTES;
	trial_set_rate(side, round);
}

static int trial_zero(struct duel_side *side, uint32_t round)
{
	int error = trial_stage_dirty(side);

	if (!error)
		error = side->contestant.operations->trim(&side->contestant);
	if (!error)
		set_scan_rate(side, round);
	return error;
}

/* Everything out, then read back by touching it: clean. */
static int trial_clean(struct duel_side *side, uint32_t round)
{
	const struct contestant_operations *operations = side->contestant.operations;
	int error = trial_evicted(side, round);

	if (!error)
		error = operations->stage(&side->contestant);
	if (!error)
		error = operations->trim(&side->contestant);
	if (!error)
		set_scan_rate(side, round);
	return error;
}

static void run(struct bench *bench, duel_trial *trial, struct row *row, uint32_t zero_percent)
{
	struct contestant_setup setup;
	struct touch_trial all = {
		.kind = ORDER_SEQUENTIAL,
		.threads = 1,
		.cpu = CLIENT_ANY_CPU,
	};
	struct duel duel;

	if (duel_begin(&duel, bench, row->what) < 0)
		return;
	bench_setup(bench, bench_size(bench, QUICK_BYTES, FULL_BYTES), &setup);
	setup.shards = 2;
	setup.client.zero_percent = zero_percent;
	all.count = setup.client.pages;
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial, &all);
	(void)duel_add(&duel, "crosvm-style", &contestant_crosvm, &setup, trial, &all);
	if (zero_percent > 0)
		floors_add_memory_read(&duel);
	duel_run(&duel);
	row->reference = "crosvm-style";
	(void)duel_row(&duel, BULK_RATE, row);
	if (zero_percent > 0) {
		row->id = "trim-read";
		row->reference = FLOOR_MEMORY_READ;
		(void)duel_row(&duel, BULK_RATE, row);
	}
	duel_end(&duel);
}

void command_trim(struct bench *bench)
{
	struct row zero = {
		.id = "P9",
		.what = "trim, a quarter of the pages zero",
		.subject = "vmswapd",
		.unit = "GB/s",
		.placement = placement_name(PLACEMENT_NONE),
	};
	struct row clean = zero;

	clean.id = "trim-clean";
	clean.what = "trim of pages that are clean";
	run(bench, trial_zero, &zero, ZERO_PERCENT);
	/* crosvm's design reads all of it back from the disk, page by page. */
	if (bench->options.is_full)
		run(bench, trial_clean, &clean, 0);
}
