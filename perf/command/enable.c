/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P10: the longest stall of a guest thread while all memory is staged. The thread touches pages
 * of a working set as fast as it can and is stalled by whatever keeps it from its next touch.
 */
#include <stdlib.h>

#include "perf/bench/bench.h"
#include "perf/bench/gap.h"
#include "perf/bench/place.h"
#include "perf/bench/trial.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define QUICK_BYTES (256 * MIB)
#define FULL_BYTES  (4 * GIB)
/* A tenth of the memory is in use. */
#define WORKING_SHARE 10u

enum enable_metric {
	ENABLE_STALL, /* us */
	ENABLE_TIME,  /* s, of the whole operation */
};

static int begin_touching(struct duel_side *side, uint32_t round)
{
	const uint64_t count = side->contestant.setup.client.pages / WORKING_SHARE;
	CLEANUP_FREE uint32_t *order = malloc(count * sizeof(*order));

	if (!order || order_make(ORDER_UNIFORM, side->contestant.setup.client.pages, count,
			      round + 1, order) < 0)
		return -ENOMEM;
	return client_touch_begin(side->contestant.client, &(struct touch){
								   .order = order,
								   .count = count,
								   .threads = 1,
								   .cpu = 0,
								   .is_endless = true,
								   .is_watch = true,
							   });
}

static int trial_enable(struct duel_side *side, uint32_t round)
{
	struct touch_result result;
	int stage_error;
	int error = client_dirty(side->contestant.client);

	if (!error)
		error = begin_touching(side, round);
	if (error)
		return contestant_fail(&side->contestant, error, "the client ended");
	stage_error = side->contestant.operations->stage(&side->contestant);
	error = client_touch_end(side->contestant.client, &result);
	if (stage_error)
		return stage_error;
	if (error)
		return contestant_fail(&side->contestant, error, "the client ended");
	if (result.bad_pages > 0)
		return contestant_fail(&side->contestant, -EBADMSG, "pages were WRONG");
	side->value[ENABLE_STALL][round] = gap_longest_us(&result);
	side->value[ENABLE_TIME][round] = (double)side->contestant.moved_ns / 1e9;
	return 0;
}

void command_enable(struct bench *bench)
{
	struct row row = {
		.id = "P10",
		.what = "longest stall of a guest thread while its memory is staged",
		.subject = "vmswapd",
		.reference = "crosvm-style",
		.unit = "us",
		.placement = placement_name(PLACEMENT_NONE),
	};
	struct contestant_setup setup;
	struct duel duel;

	if (duel_begin(&duel, bench, "enable") < 0)
		return;
	bench_setup(bench, bench_size(bench, QUICK_BYTES, FULL_BYTES), &setup);
	setup.shards = 2;
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_enable, NULL);
	(void)duel_add(&duel, "crosvm-style", &contestant_crosvm, &setup, trial_enable, NULL);
	duel_run(&duel);
	(void)duel_row(&duel, ENABLE_STALL, &row);
	row.id = "enable-time";
	row.what = "time to stage all memory";
	row.unit = "s";
	(void)duel_row(&duel, ENABLE_TIME, &row);
	duel_end(&duel);
}
