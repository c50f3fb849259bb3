/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A duel: the same trial, round after round, by several sides in turn, so that what the machine
 * does meanwhile meets all of them alike. The order of the sides is shuffled anew each round. Each
 * pair of sides then makes a row for each metric.
 *
 *   duel_begin ─► duel_add… ─► duel_run ─► duel_row… ─► duel_end
 */
#ifndef VMSWAP_PERF_BENCH_DUEL_H
#define VMSWAP_PERF_BENCH_DUEL_H

#include <stdbool.h>
#include <stdint.h>

#include "perf/bench/bench.h"
#include "perf/bench/row.h"
#include "perf/contestant/contestant.h"

#define DUEL_SIDES_MAX	 12u
#define DUEL_METRICS_MAX 8u
/* Of a latency CDF, evenly over the shares; the last one is the maximum. */
#define DUEL_CDF_POINTS 400u

struct duel_side;

/*
 * One trial of @side: measures, and sets side->value[metric][round]. 0, or -errno with a reason in
 * the contestant's ->why.
 */
typedef int duel_trial(struct duel_side *side, uint32_t round);

struct duel_side {
	const char *name;
	duel_trial *trial;
	const void *argument; /* of the trial */
	bool is_floor;	      /* has no contestant: the trial knows how to measure by itself */
	bool is_out;	      /* could not be opened, or failed */
	struct contestant contestant;
	double value[DUEL_METRICS_MAX][ROUNDS_MAX];
	double cdf_us[DUEL_CDF_POINTS]; /* of the last round; 0: none */
	double foreign;			/* CPUs used by others in the last trial */
};

struct duel {
	struct bench *bench;
	const char *title;
	uint64_t random;
	uint32_t rounds;
	uint32_t side_count;
	struct duel_side *side; /* DUEL_SIDES_MAX */
	bool is_noisy[DUEL_SIDES_MAX][ROUNDS_MAX];
};

/* @title is for people. -ENOMEM. */
int duel_begin(struct duel *duel, struct bench *bench, const char *title);
/* Opens a contestant; one that the host lacks is told and stays out. Returns its side. */
struct duel_side *duel_add(struct duel *duel, const char *name,
	const struct contestant_operations *operations, const struct contestant_setup *setup,
	duel_trial *trial, const void *argument);
/* A side without a client. */
struct duel_side *duel_add_floor(
	struct duel *duel, const char *name, duel_trial *trial, const void *argument);
/* options.rounds rounds. A side that fails is told and is out from then on. */
void duel_run(struct duel *duel);
/* NULL when there is none of that name, or it is out. */
struct duel_side *duel_find(const struct duel *duel, const char *name);
/*
 * A row of @metric from the sides named in @row, unless one of them is out. The rounds are filled
 * in. True when it was added.
 */
bool duel_row(const struct duel *duel, uint32_t metric, struct row *row);
/* A row that compares two metrics of one side: row->subject is its name, and stays so. */
bool duel_row_within(
	const struct duel *duel, uint32_t metric, uint32_t reference_metric, struct row *row);
/* The latency CDFs of all sides as one picture; @name tells it from others. */
void duel_picture(const struct duel *duel, const char *name, const char *title);
void duel_end(struct duel *duel);

#endif
