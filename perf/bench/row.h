/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows: each is the ratio of a subject to a reference, measured alternately in one run. A row knows
 * its rounds one by one; nothing is dropped, noisy rounds are marked.
 *
 * Results are held as the JSON that is written (perf/README.md describes it), so that what is
 * printed, drawn and compared is what the file says.
 */
#ifndef VMSWAP_PERF_BENCH_ROW_H
#define VMSWAP_PERF_BENCH_ROW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "perf/report/spread.h"

#define ROUNDS_MAX 99u

/* One measured pair. */
struct round {
	double subject;
	double reference;
	bool is_noisy; /* others used the CPUs meanwhile; see host.h */
};

struct row {
	const char *id;	  /* of a target ("P1"), or of its own */
	const char *part; /* "p50", "p99", "8 threads", … or NULL: tells rows of one id apart */
	const char *what; /* a sentence */
	const char *subject;
	const char *reference;
	const char *unit;      /* of the measured values: "us", "GB/s", "faults/s", … */
	const char *placement; /* "same", "cross", "none" */
	uint32_t count;
	struct round round[ROUNDS_MAX];
};

/* Sorts, for percentile_of(). */
void percentiles_prepare(uint32_t *values, uint64_t count);
/* Of sorted values, 0 <= share <= 1: the smallest that this share of them does not exceed. */
double percentile_of(const uint32_t *values, uint64_t count, double share);

/* Adds a round. A reference of 0 is a bug of the caller. */
void row_add(struct row *row, double subject, double reference, bool is_noisy);

/* Of the rounds' ratios. */
struct spread row_ratio(const struct row *row);
/* More than a third of its rounds are. */
bool row_is_noisy(const struct row *row);
/*
 * The row as it stands in the JSON: {"id","part","what","subject","reference","unit","placement",
 * "ratio":{"median","min","max","rounds"},"target":"<=1.10"|null,"met":bool|null,"noisy":bool,
 * "values":{"subject":[…],"reference":[…],"noisy_rounds":[…]}}. New reference.
 */
json_t *row_json(const struct row *row);
/* One line of it on standard output. */
void row_print(const struct row *row);

#endif
