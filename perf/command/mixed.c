/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P11: faults on staged pages while bulk work runs on the same VM, against the same faults while
 * nothing else does.
 *
 * The faults are on the last quarter of the memory. Swap-out goes upward, so that quarter is still
 * staged while most of it runs; samples after that are left out. For swap-in the quarter is brought
 * back and staged first, and the rest is out.
 */
#include <stdlib.h>

#include "perf/bench/bench.h"
#include "perf/bench/place.h"
#include "perf/bench/trial.h"
#include "perf/command/timeline.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define QUICK_BYTES (512 * MIB)
#define FULL_BYTES  (4 * GIB)
/* Between two touches: the guest is not all fault. */
#define PACE_US 20u
/* Of the time an operation takes, while the last quarter is surely not reached by it. */
#define STAGED_SHARE 0.6
/* Fewer samples have no 99th percentile. */
#define SAMPLES_MIN 200u
#define IDLE_US	    300000u

enum mixed_metric {
	MIXED_IDLE, /* p99 of a staged fault, us */
	MIXED_TRIM,
	MIXED_OUT,
	MIXED_IN,
};

/* What runs while the guest touches; NULL: nothing, for IDLE_US. */
typedef int (*bulk_operation)(struct contestant *);

static int client_failed(struct duel_side *side, int error)
{
	return contestant_fail(&side->contestant, error, "the client: error %d", -error);
}

/* The pages of the last quarter, in random order. Freed by the caller. */
static uint32_t *last_quarter(const struct duel_side *side, uint64_t seed, uint64_t *ret_count)
{
	const uint64_t pages = side->contestant.setup.client.pages;
	const uint64_t count = pages / 4;
	uint32_t *order = malloc(count * sizeof(*order));

	if (!order || order_make(ORDER_UNIFORM, count, count, seed, order) < 0) {
		free(order);
		return NULL;
	}
	for (uint64_t i = 0; i < count; i++)
		order[i] += (uint32_t)(pages - count);
	*ret_count = count;
	return order;
}

static int begin(struct duel_side *side, uint64_t seed, uint32_t pace_us, bool is_endless)
{
	uint64_t count;
	CLEANUP_FREE uint32_t *order = last_quarter(side, seed, &count);

	if (!order)
		return -ENOMEM;
	return client_touch_begin(side->contestant.client, &(struct touch){
								   .order = order,
								   .count = count,
								   .threads = 1,
								   .cpu = CLIENT_ANY_CPU,
								   .is_endless = is_endless,
								   .pace_us = pace_us,
							   });
}

/* Samples that began before @end_us, to the front. */
static uint64_t keep_until(const struct touch_result *result, uint64_t end_us)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < result->samples; i++)
		if (result->begin_us[i] < end_us)
			result->latency_ns[kept++] = result->latency_ns[i];
	return kept;
}

/* Runs @operation while the last quarter is touched; its p99 there goes to @metric. */
static int measure(
	struct duel_side *side, uint32_t round, enum mixed_metric metric, bulk_operation operation)
{
	const uint64_t count = side->contestant.setup.client.pages / 4;
	struct touch_result result;
	uint64_t elapsed_us;
	uint64_t kept;
	int operation_error = 0;
	int error = begin(side, round * 4 + metric, PACE_US, true);

	if (error)
		return client_failed(side, error);
	if (operation)
		operation_error = operation(&side->contestant);
	else
		(void)usleep(IDLE_US);
	/* Without what a contestant does after the operation proper, as dropping caches. */
	elapsed_us = operation ? side->contestant.moved_ns / NS_PER_US : IDLE_US;
	error = client_touch_end(side->contestant.client, &result);
	if (operation_error || error)
		return operation_error ? operation_error : client_failed(side, error);
	if (result.bad_pages > 0)
		return client_failed(side, -EBADMSG);
	/* A second pass would touch pages that are mapped. */
	result.samples = MIN(result.samples, count);
	kept = keep_until(&result,
		metric == MIXED_OUT ? (uint64_t)((double)elapsed_us * STAGED_SHARE) : elapsed_us);
	if (kept < SAMPLES_MIN)
		return contestant_fail(&side->contestant, -ERANGE,
			"only %llu faults while it ran: take a larger --size",
			(unsigned long long)kept);
	percentiles_prepare(result.latency_ns, kept);
	side->value[metric][round] = percentile_of(result.latency_ns, kept, 0.99) / 1000;
	return 0;
}

/* The last quarter in RAM and staged, whatever the rest is. */
static int stage_last_quarter(struct duel_side *side)
{
	struct touch_result result;
	int error = begin(side, 0, 0, false);

	if (!error)
		error = client_touch_end(side->contestant.client, &result);
	if (error)
		return client_failed(side, error);
	return trial_call(side, side->contestant.operations->stage);
}

static int trial_mixed(struct duel_side *side, uint32_t round)
{
	const struct contestant_operations *operations = side->contestant.operations;
	int error = trial_stage_dirty(side);

	if (!error)
		error = measure(side, round, MIXED_IDLE, NULL);
	if (!error)
		error = operations->stage(&side->contestant);
	if (!error)
		error = measure(side, round, MIXED_TRIM, operations->trim);
	if (!error)
		error = operations->stage(&side->contestant);
	if (!error)
		error = measure(side, round, MIXED_OUT, operations->evict);
	if (!error)
		error = stage_last_quarter(side);
	if (!error)
		error = measure(side, round, MIXED_IN, operations->restore);
	return error;
}

static void add_rows(const struct duel *duel, const char *id, const char *side)
{
	static const struct {
		const char *part;
		enum mixed_metric metric;
	} rows[] = {{"swap-out", MIXED_OUT}, {"trim", MIXED_TRIM}, {"swap-in", MIXED_IN}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct row row = {
			.id = id,
			.part = rows[i].part,
			.what = "p99 of a staged fault beside bulk work, against idle",
			.subject = side,
			.reference = "idle",
			.unit = "us",
			.placement = placement_name(PLACEMENT_NONE),
		};

		(void)duel_row_within(duel, rows[i].metric, MIXED_IDLE, &row);
	}
}

void command_mixed(struct bench *bench)
{
	struct contestant_setup setup;
	struct duel duel;

	if (duel_begin(&duel, bench, "faults beside bulk work") < 0)
		return;
	bench_setup(bench, bench_size(bench, QUICK_BYTES, FULL_BYTES), &setup);
	setup.shards = 2;
	/* Trim finds something to drop. */
	setup.client.zero_percent = 10;
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_mixed, NULL);
	if (bench->options.is_full)
		(void)duel_add(
			&duel, "crosvm-style", &contestant_crosvm, &setup, trial_mixed, NULL);
	duel_run(&duel);
	add_rows(&duel, "P11", "vmswapd");
	add_rows(&duel, "mixed-crosvm", "crosvm-style");
	duel_end(&duel);
	timeline_run(bench);
}
