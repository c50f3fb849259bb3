/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/trial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

int trial_call(struct duel_side *side, int (*operation)(struct contestant *))
{
	return operation ? operation(&side->contestant) : 0;
}

static void draw_cdf(struct duel_side *side, const struct touch_result *result)
{
	for (uint32_t i = 0; i < DUEL_CDF_POINTS; i++)
		side->cdf_us[i] = percentile_of(result->latency_ns, result->samples,
					  (double)(i + 1) / DUEL_CDF_POINTS) /
				  1000;
}

static void set_metrics(
	struct duel_side *side, uint32_t round, const struct touch_result *result, uint64_t cpu_ns)
{
	const double touches = (double)result->touches;
	const double seconds = (double)result->elapsed_ns / (double)NS_PER_S;

	percentiles_prepare(result->latency_ns, result->samples);
	side->value[TOUCH_P50][round] =
		percentile_of(result->latency_ns, result->samples, 0.5) / 1000;
	side->value[TOUCH_P99][round] =
		percentile_of(result->latency_ns, result->samples, 0.99) / 1000;
	side->value[TOUCH_RATE][round] = touches / seconds;
	side->value[TOUCH_CPU][round] = (double)cpu_ns / touches / 1000;
	side->value[TOUCH_TIME][round] = seconds;
	draw_cdf(side, result);
}

static int make_order(const struct touch_trial *trial, const struct duel_side *side, uint32_t round,
	uint32_t *ret_order)
{
	const uint64_t pages = side->contestant.setup.client.pages;

	if (!trial->trace)
		return order_make(trial->kind, pages, trial->count,
			trial->is_same_each_round ? 1 : round + 1, ret_order);
	memcpy(ret_order, trial->trace, trial->count * sizeof(*ret_order));
	return 0;
}

static uint64_t cpu_of(struct duel_side *side)
{
	const struct contestant_operations *operations = side->contestant.operations;

	return operations->cpu_ns ? operations->cpu_ns(&side->contestant) : 0;
}

int trial_touch(struct duel_side *side, uint32_t round)
{
	const struct touch_trial *trial = side->argument;
	CLEANUP_FREE uint32_t *order = malloc(trial->count * sizeof(*order));
	struct touch_result result;
	uint64_t cpu_ns;
	int error = order ? make_order(trial, side, round, order) : -ENOMEM;

	if (error)
		return contestant_fail(&side->contestant, error, "no memory for an order");
	cpu_ns = cpu_of(side);
	error = client_touch(side->contestant.client,
		&(struct touch){
			.order = order,
			.count = trial->count,
			.threads = trial->threads,
			.cpu = trial->cpu,
			.is_write = trial->is_write,
		},
		&result);
	if (error)
		return contestant_fail(&side->contestant, error, "the client ended");
	cpu_ns = cpu_of(side) - cpu_ns;
	if (result.bad_pages > 0)
		return contestant_fail(&side->contestant, -EBADMSG, "%llu pages were WRONG",
			(unsigned long long)result.bad_pages);
	set_metrics(side, round, &result, cpu_ns);
	return 0;
}

int trial_staged(struct duel_side *side, uint32_t round)
{
	const int error = trial_call(side, side->contestant.operations->stage);

	return error ? error : trial_touch(side, round);
}

int trial_evicted(struct duel_side *side, uint32_t round)
{
	const struct contestant_operations *operations = side->contestant.operations;
	int error = trial_call(side, operations->stage);

	if (!error)
		error = trial_call(side, operations->evict);
	return error ? error : trial_touch(side, round);
}

void trial_set_rate(struct duel_side *side, uint32_t round)
{
	const struct contestant *contestant = &side->contestant;

	/* Bytes a nanosecond are GB a second. */
	side->value[BULK_RATE][round] =
		(double)contestant->moved_bytes / (double)MAX(contestant->moved_ns, 1u);
}

int trial_stage_dirty(struct duel_side *side)
{
	const int error = client_dirty(side->contestant.client);

	if (error)
		return contestant_fail(&side->contestant, error, "the client ended");
	return trial_call(side, side->contestant.operations->stage);
}
