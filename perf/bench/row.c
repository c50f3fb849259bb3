/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/row.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/bench/target.h"
#include "queue/base/assert.h"

static int compare_u32(const void *a, const void *b)
{
	const uint32_t *first = a;
	const uint32_t *second = b;

	return (*first > *second) - (*first < *second);
}

void percentiles_prepare(uint32_t *values, uint64_t count)
{
	qsort(values, count, sizeof(*values), compare_u32);
}

double percentile_of(const uint32_t *values, uint64_t count, double share)
{
	const double rank = ceil(share * (double)count);

	ASSERT(count > 0);
	ASSERT(share >= 0);
	ASSERT(share <= 1);
	return values[rank < 1 ? 0 : (uint64_t)rank - 1];
}

void row_add(struct row *row, double subject, double reference, bool is_noisy)
{
	ASSERT(reference > 0);
	ASSERT(row->count < ROUNDS_MAX);
	row->round[row->count++] = (struct round){subject, reference, is_noisy};
}

struct spread row_ratio(const struct row *row)
{
	double ratio[ROUNDS_MAX];

	ASSERT(row->count > 0);
	for (uint32_t i = 0; i < row->count; i++)
		ratio[i] = row->round[i].subject / row->round[i].reference;
	return spread_of(ratio, row->count);
}

static uint32_t count_noisy(const struct row *row)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < row->count; i++)
		count += row->round[i].is_noisy;
	return count;
}

bool row_is_noisy(const struct row *row)
{
	return 3 * count_noisy(row) > row->count;
}

/* {"subject":[…],"reference":[…],"noisy_rounds":[…]} */
static json_t *values_of(const struct row *row)
{
	json_t *subject = json_array();
	json_t *reference = json_array();
	json_t *noisy = json_array();

	for (uint32_t i = 0; i < row->count; i++) {
		(void)json_array_append_new(subject, json_real(row->round[i].subject));
		(void)json_array_append_new(reference, json_real(row->round[i].reference));
		if (row->round[i].is_noisy)
			(void)json_array_append_new(noisy, json_integer(i));
	}
	return json_pack("{s:o, s:o, s:o}", "subject", subject, "reference", reference,
		"noisy_rounds", noisy);
}

json_t *row_json(const struct row *row)
{
	const struct target *target = target_find(row->id, row->part, row->placement);
	const struct spread ratio = row_ratio(row);
	char text[TARGET_TEXT_BYTES];

	if (target)
		target_text(target, text);
	return json_pack("{s:s, s:s?, s:s, s:s, s:s, s:s, s:s, s:{s:f, s:f, s:f, s:i}, s:s?, s:o, "
			 "s:b, s:o}",
		"id", row->id, "part", row->part, "what", row->what, "subject", row->subject,
		"reference", row->reference, "unit", row->unit, "placement", row->placement,
		"ratio", "median", ratio.median, "min", ratio.min, "max", ratio.max, "rounds",
		(int)row->count, "target", target ? text : NULL, "met",
		target ? json_boolean(target_is_met(target, ratio.median)) : json_null(), "noisy",
		row_is_noisy(row), "values", values_of(row));
}

static double median_of(const struct row *row, bool is_subject)
{
	double value[ROUNDS_MAX];

	for (uint32_t i = 0; i < row->count; i++)
		value[i] = is_subject ? row->round[i].subject : row->round[i].reference;
	return spread_of(value, row->count).median;
}

void row_print(const struct row *row)
{
	const struct target *target = target_find(row->id, row->part, row->placement);
	const struct spread ratio = row_ratio(row);
	char text[TARGET_TEXT_BYTES] = "";
	const char *verdict = "";

	if (target) {
		target_text(target, text);
		verdict = target_is_met(target, ratio.median) ? "met" : "MISSED";
	}
	(void)printf("%-16s %-14s %-5s %8.3g [%.3g–%.3g]  %s/%s  %.4g/%.4g %s  %s %s%s\n", row->id,
		row->part ? row->part : "", row->placement, ratio.median, ratio.min, ratio.max,
		row->subject, row->reference, median_of(row, true), median_of(row, false),
		row->unit, text, verdict, row_is_noisy(row) ? " noisy" : "");
	(void)fflush(stdout);
}
