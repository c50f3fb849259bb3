/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P7: writing memory out whose pages are all dirty and incompressible, against the kernel's
 * MADV_PAGEOUT to a swap file, and against O_DIRECT writes of the same disk.
 */
#include "perf/bench/bench.h"
#include "perf/bench/place.h"
#include "perf/bench/trial.h"
#include "perf/command/floors.h"
#include "queue/base/bits.h"

#define QUICK_BYTES (256 * MIB)
#define FULL_BYTES  (2 * GIB)

/* The first write to a place of a file costs more than the later ones: round 0 is done twice. */
static int trial_swap_out(struct duel_side *side, uint32_t round)
{
	const struct contestant_operations *operations = side->contestant.operations;

	for (uint32_t i = round == 0 ? 0 : 1; i < 2; i++) {
		int error = trial_call(side, operations->restore);

		if (!error)
			error = trial_stage_dirty(side);
		if (!error)
			error = operations->evict(&side->contestant);
		if (error)
			return error;
	}
	trial_set_rate(side, round);
	return 0;
}

void command_swap_out(struct bench *bench)
{
	struct row row = {
		.id = "P7",
		.part = "kernel",
		.what = "swap-out of dirty, incompressible pages",
		.subject = "vmswapd",
		.reference = "kernel-swapfile",
		.unit = "GB/s",
		.placement = placement_name(PLACEMENT_NONE),
	};
	struct contestant_setup setup;
	struct contestant_setup kernel;
	struct floor_disk_trial floor;
	struct duel duel;

	if (duel_begin(&duel, bench, "swap-out") < 0)
		return;
	bench_setup(bench, bench_size(bench, QUICK_BYTES, FULL_BYTES), &setup);
	setup.shards = 2;
	kernel = setup;
	kernel.option = "file";
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_swap_out, NULL);
	(void)duel_add(&duel, "kernel-swapfile", &contestant_swap, &kernel, trial_swap_out, NULL);
	(void)duel_add(&duel, "crosvm-style", &contestant_crosvm, &setup, trial_swap_out, NULL);
	floors_add_write(&duel, &floor);
	duel_run(&duel);
	(void)duel_row(&duel, BULK_RATE, &row);
	row.part = "floor";
	row.reference = floor.name;
	(void)duel_row(&duel, BULK_RATE, &row);
	row.id = "swap-out-crosvm";
	row.part = NULL;
	row.reference = "crosvm-style";
	(void)duel_row(&duel, BULK_RATE, &row);
	duel_end(&duel);
	floors_close(&floor);
}
