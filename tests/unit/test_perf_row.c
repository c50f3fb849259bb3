/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "perf/bench/row.h"
#include "perf/bench/target.h"

static struct row row_of(const char *id, const char *part)
{
	return (struct row){
		.id = id,
		.part = part,
		.what = "what",
		.subject = "subject",
		.reference = "reference",
		.unit = "us",
		.placement = "same",
	};
}

Test(perf_row, the_spread_of_an_odd_number_has_the_middle_value)
{
	double values[] = {5, 1, 9};

	const struct spread spread = spread_of(values, 3);

	cr_assert_eq(spread.median, 5);
	cr_assert_eq(spread.min, 1);
	cr_assert_eq(spread.max, 9);
}

Test(perf_row, the_spread_of_an_even_number_is_between_the_middle_two)
{
	double values[] = {4, 1, 2, 8};

	cr_assert_eq(spread_of(values, 4).median, 3);
}

Test(perf_row, a_percentile_is_the_smallest_value_that_is_not_exceeded_by_its_share)
{
	uint32_t values[100];

	for (uint32_t i = 0; i < 100; i++)
		values[i] = 100 - i;
	percentiles_prepare(values, 100);

	cr_assert_eq(percentile_of(values, 100, 0), 1);
	cr_assert_eq(percentile_of(values, 100, 0.5), 50);
	cr_assert_eq(percentile_of(values, 100, 0.99), 99);
	cr_assert_eq(percentile_of(values, 100, 1), 100);
	cr_assert_eq(percentile_of(values, 1, 0.99), 1);
}

Test(perf_row, a_ratio_is_made_round_by_round)
{
	struct row row = row_of("x", NULL);

	row_add(&row, 2, 1, false);
	row_add(&row, 30, 10, false);
	row_add(&row, 100, 100, false);

	/* The ratio of the medians would be 3. */
	cr_assert_eq(row_ratio(&row).median, 2);
	cr_assert_eq(row_ratio(&row).min, 1);
	cr_assert_eq(row_ratio(&row).max, 3);
}

Test(perf_row, a_row_is_noisy_when_more_than_a_third_of_its_rounds_are)
{
	struct row row = row_of("x", NULL);

	row_add(&row, 1, 1, true);
	row_add(&row, 1, 1, false);
	row_add(&row, 1, 1, false);
	cr_assert_not(row_is_noisy(&row));

	row_add(&row, 1, 1, true);
	cr_assert(row_is_noisy(&row));
}

Test(perf_row, the_json_of_a_row_with_a_target_says_whether_it_is_met)
{
	struct row row = row_of("P1", "p50");
	json_t *json;

	row_add(&row, 12, 10, false);
	json = row_json(&row);

	cr_assert_str_eq(json_string_value(json_object_get(json, "target")), "<=1.1");
	cr_assert(json_is_false(json_object_get(json, "met")));
	cr_assert_float_eq(
		json_number_value(json_object_get(json_object_get(json, "ratio"), "median")), 1.2,
		1e-9);
	cr_assert_eq(
		json_array_size(json_object_get(json_object_get(json, "values"), "subject")), 1);
	json_decref(json);
}

Test(perf_row, the_json_of_a_row_without_a_target_has_nulls)
{
	struct row row = row_of("other", NULL);
	json_t *json;

	row_add(&row, 1, 1, true);
	json = row_json(&row);

	cr_assert(json_is_null(json_object_get(json, "target")));
	cr_assert(json_is_null(json_object_get(json, "met")));
	cr_assert(json_is_null(json_object_get(json, "part")));
	cr_assert(json_is_true(json_object_get(json, "noisy")));
	json_decref(json);
}

Test(perf_row, a_target_belongs_to_one_id_part_and_placement)
{
	cr_assert_not_null(target_find("P1", "p50", "same"));
	cr_assert_not_null(target_find("P8", NULL, "none"));

	cr_assert_null(target_find("P1", "p50", "cross"));
	cr_assert_null(target_find("P1", NULL, "same"));
	cr_assert_null(target_find("P99", NULL, "none"));
}

Test(perf_row, a_target_is_met_at_its_bound)
{
	const struct target *ceiling = target_find("P1", "p50", "same");
	const struct target *floor = target_find("P8", NULL, "none");

	cr_assert(target_is_met(ceiling, 1.10));
	cr_assert_not(target_is_met(ceiling, 1.11));
	cr_assert(target_is_met(floor, 0.9));
	cr_assert_not(target_is_met(floor, 0.89));
}
