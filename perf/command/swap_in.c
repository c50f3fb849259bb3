/* SPDX-License-Identifier: Apache-2.0 */
/* P8: bringing all memory back, against sequential O_DIRECT reads of the same disk. */
#include "perf/bench/bench.h"
#include "perf/bench/place.h"
#include "perf/bench/trial.h"
#include "perf/command/floors.h"
#include "queue/base/bits.h"

#define QUICK_BYTES (256 * MIB)
#define FULL_BYTES  (2 * GIB)

static int trial_swap_in(struct duel_side *side, uint32_t round)
{
	const struct contestant_operations *operations = side->contestant.operations;
	int error = trial_stage_dirty(side);

	if (!error)
		error = operations->evict(&side->contestant);
	if (!error)
		error = operations->restore(&side->contestant);
	if (!error)
		trial_set_rate(side, round);
	return error;
}

void command_swap_in(struct bench *bench)
{
	struct row row = {
		.id = "P8",
		.what = "swap-in of everything",
		.subject = "vmswapd",
		.unit = "GB/s",
		.placement = placement_name(PLACEMENT_NONE),
	};
	struct contestant_setup setup;
	struct floor_disk_trial floor;
	struct duel duel;

	if (duel_begin(&duel, bench, "swap-in") < 0)
		return;
	bench_setup(bench, bench_size(bench, QUICK_BYTES, FULL_BYTES), &setup);
	setup.shards = 2;
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_swap_in, NULL);
	(void)duel_add(&duel, "crosvm-style", &contestant_crosvm, &setup, trial_swap_in, NULL);
	floors_add_read(&duel, &floor);
	duel_run(&duel);
	row.reference = floor.name;
	(void)duel_row(&duel, BULK_RATE, &row);
	row.id = "swap-in-crosvm";
	row.reference = "crosvm-style";
	(void)duel_row(&duel, BULK_RATE, &row);
	duel_end(&duel);
	floors_close(&floor);
}
