/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/duel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "perf/bench/host.h"
#include "perf/bench/progress.h"
#include "perf/bench/results.h"
#include "perf/client/random.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

/* A round is noisy when others used more than this share of a CPU. */
#define NOISY_SHARE 0.10

int duel_begin(struct duel *duel, struct bench *bench, const char *title)
{
	*duel = (struct duel){
		.bench = bench,
		.title = title,
		.random = random_seed(1),
		.rounds = bench->options.rounds,
		.side = calloc(DUEL_SIDES_MAX, sizeof(*duel->side)),
	};
	if (!duel->side) {
		bench_fail(bench, title, "no memory");
		return -ENOMEM;
	}
	return 0;
}

static struct duel_side *add(
	struct duel *duel, const char *name, duel_trial *trial, const void *argument)
{
	struct duel_side *side = &duel->side[duel->side_count++];

	ASSERT(duel->side_count <= DUEL_SIDES_MAX);
	side->name = name;
	side->trial = trial;
	side->argument = argument;
	return side;
}

struct duel_side *duel_add(struct duel *duel, const char *name,
	const struct contestant_operations *operations, const struct contestant_setup *setup,
	duel_trial *trial, const void *argument)
{
	struct duel_side *side = add(duel, name, trial, argument);

	if (contestant_open(&side->contestant, operations, setup) < 0) {
		bench_skip(duel->bench, name, side->contestant.why);
		side->is_out = true;
	}
	return side;
}

struct duel_side *duel_add_floor(
	struct duel *duel, const char *name, duel_trial *trial, const void *argument)
{
	struct duel_side *side = add(duel, name, trial, argument);

	side->is_floor = true;
	return side;
}

static void run_trial(struct duel *duel, uint32_t index, uint32_t round)
{
	struct duel_side *side = &duel->side[index];
	struct host_load load;
	int error;

	if (side->is_out)
		return;
	progress_step("%s: round %u of %u, %s", duel->title, round + 1, duel->rounds, side->name);
	host_load_begin(&load);
	error = side->trial(side, round);
	side->foreign = host_load_foreign(&load);
	duel->is_noisy[index][round] = side->foreign > NOISY_SHARE;
	if (error) {
		bench_fail(duel->bench, side->name, side->contestant.why);
		side->is_out = true;
	}
}

void duel_run(struct duel *duel)
{
	uint32_t turn[DUEL_SIDES_MAX];

	for (uint32_t i = 0; i < duel->side_count; i++)
		turn[i] = i;
	progress_begin(duel->rounds * duel->side_count);
	for (uint32_t round = 0; round < duel->rounds; round++) {
		for (uint32_t i = duel->side_count; i > 1; i--) {
			const uint32_t other = (uint32_t)(random_next(&duel->random) % i);
			const uint32_t taken = turn[other];

			turn[other] = turn[i - 1];
			turn[i - 1] = taken;
		}
		for (uint32_t i = 0; i < duel->side_count; i++)
			run_trial(duel, turn[i], round);
	}
	progress_end();
}

static uint32_t index_of(const struct duel *duel, const char *name)
{
	for (uint32_t i = 0; i < duel->side_count; i++)
		if (strcmp(duel->side[i].name, name) == 0 && !duel->side[i].is_out)
			return i;
	return DUEL_SIDES_MAX;
}

struct duel_side *duel_find(const struct duel *duel, const char *name)
{
	const uint32_t index = index_of(duel, name);

	return index == DUEL_SIDES_MAX ? NULL : &duel->side[index];
}

bool duel_row(const struct duel *duel, uint32_t metric, struct row *row)
{
	const uint32_t subject = index_of(duel, row->subject);
	const uint32_t reference = index_of(duel, row->reference);

	ASSERT(metric < DUEL_METRICS_MAX);
	if (subject == DUEL_SIDES_MAX || reference == DUEL_SIDES_MAX)
		return false;
	row->count = 0;
	for (uint32_t round = 0; round < duel->rounds; round++)
		row_add(row, duel->side[subject].value[metric][round],
			duel->side[reference].value[metric][round],
			duel->is_noisy[subject][round] || duel->is_noisy[reference][round]);
	bench_add(duel->bench, row);
	return true;
}

bool duel_row_within(
	const struct duel *duel, uint32_t metric, uint32_t reference_metric, struct row *row)
{
	const uint32_t index = index_of(duel, row->subject);

	ASSERT(metric < DUEL_METRICS_MAX);
	ASSERT(reference_metric < DUEL_METRICS_MAX);
	if (index == DUEL_SIDES_MAX)
		return false;
	row->count = 0;
	for (uint32_t round = 0; round < duel->rounds; round++)
		row_add(row, duel->side[index].value[metric][round],
			duel->side[index].value[reference_metric][round],
			duel->is_noisy[index][round]);
	bench_add(duel->bench, row);
	return true;
}

/* {"name","x":[us…],"y":[share…]} */
static json_t *line_of(const struct duel_side *side)
{
	json_t *x = json_array();
	json_t *y = json_array();

	for (uint32_t i = 0; i < DUEL_CDF_POINTS; i++) {
		(void)json_array_append_new(x, json_real(side->cdf_us[i]));
		(void)json_array_append_new(y, json_real((double)(i + 1) / DUEL_CDF_POINTS));
	}
	return json_pack("{s:s, s:o, s:o}", "name", side->name, "x", x, "y", y);
}

void duel_picture(const struct duel *duel, const char *name, const char *title)
{
	json_t *lines = json_array();

	for (uint32_t i = 0; i < duel->side_count; i++)
		if (!duel->side[i].is_out && duel->side[i].cdf_us[0] > 0)
			(void)json_array_append_new(lines, line_of(&duel->side[i]));
	results_add_series(
		duel->bench->results, json_pack("{s:s, s:s, s:s, s:o}", "name", name, "kind", "cdf",
					      "title", title, "lines", lines));
}

void duel_end(struct duel *duel)
{
	for (uint32_t i = 0; i < duel->side_count; i++)
		if (!duel->side[i].is_floor)
			contestant_close(&duel->side[i].contestant);
	free(duel->side);
	duel->side = NULL;
}
