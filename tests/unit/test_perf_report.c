/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/report/axis.h"
#include "perf/report/quantity.h"
#include "perf/report/ratio.h"
#include "queue/base/bits.h"

static void check_ticks(const struct axis *axis, const double *wanted, size_t count)
{
	struct tick ticks[TICKS_MAX];

	cr_assert_eq(axis_ticks(axis, ticks), count);
	for (size_t i = 0; i < count; i++)
		cr_expect_float_eq(ticks[i].value, wanted[i], 1e-9 * (1 + wanted[i]),
			"tick %zu is %g", i, ticks[i].value);
}

Test(perf_report, decades_have_labels_at_1_2_and_5)
{
	static const double wanted[] = {1, 2, 5, 10, 20, 50, 100};
	const struct axis axis = {.min = 1, .max = 100, .kind = AXIS_DECADES};
	struct tick ticks[TICKS_MAX];

	check_ticks(&axis, wanted, ARRAY_SIZE(wanted));
	(void)axis_ticks(&axis, ticks);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		cr_expect(ticks[i].has_label);
}

Test(perf_report, many_decades_have_labels_at_the_decades_only)
{
	const struct axis axis = {.min = 1, .max = 1e5, .kind = AXIS_DECADES};
	struct tick ticks[TICKS_MAX];
	const size_t count = axis_ticks(&axis, ticks);

	cr_assert_eq(count, 16u);
	for (size_t i = 0; i < count; i++)
		cr_expect_eq(ticks[i].has_label, i % 3 == 0);
}

Test(perf_report, threads_have_ticks_at_their_doublings)
{
	static const double wanted[] = {1, 2, 4, 8, 16, 32, 64};
	const struct axis axis = {.min = 1, .max = 64, .kind = AXIS_DOUBLINGS};

	check_ticks(&axis, wanted, ARRAY_SIZE(wanted));
}

Test(perf_report, a_linear_axis_has_round_steps_to_its_end)
{
	static const double wanted[] = {0, 20, 40, 60, 80, 100};
	struct axis axis = {.min = 0, .max = 93, .kind = AXIS_LINEAR};

	axis_round(&axis);

	cr_assert_float_eq(axis.max, 100, 1e-9);
	check_ticks(&axis, wanted, ARRAY_SIZE(wanted));
}

Test(perf_report, decades_are_rounded_outwards_and_round_ones_stay)
{
	static const double given[][2] = {{1.3, 49.8}, {20, 200}, {0.07, 0.3}, {9.99, 1001}};
	static const double wanted[][2] = {{1, 50}, {20, 200}, {0.05, 0.5}, {5, 2000}};

	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		struct axis axis = {.min = given[i][0], .max = given[i][1], .kind = AXIS_DECADES};

		axis_round(&axis);

		cr_expect_float_eq(axis.min / wanted[i][0], 1, 1e-9, "%zu: %g", i, axis.min);
		cr_expect_float_eq(axis.max / wanted[i][1], 1, 1e-9, "%zu: %g", i, axis.max);
	}
}

/* What a function prints; free() it. */
static char *printed_quantity(double value, const char *unit)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	cr_assert_not_null(file);
	quantity_print(file, value, unit);
	(void)fclose(file);
	return text;
}

Test(perf_report, quantities_have_three_digits_and_a_fitting_prefix)
{
	static const struct {
		double value;
		const char *unit;
		const char *text;
	} cases[] = {
		{8.714, "us", "8.71 µs"},
		{0.45, "us", "450 ns"},
		{999.7, "us", "1 ms"},
		{2194840, "us", "2.19 s"},
		{0.0412, "s", "41.2 ms"},
		{7200, "s", "7.2e+03 s"},
		{0, "us", "0 s"},
		{94.5e6, "B", "94.5 MB"},
		{54812, "faults/s", "54.8k faults/s"},
		{1.06101, "GB/s", "1.06 GB/s"},
		{0.005, NULL, "0.005"},
		{20, "%", "20 %"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = printed_quantity(cases[i].value, cases[i].unit);

		cr_expect_str_eq(text, cases[i].text);
		free(text);
	}
}

static char *drawn_ratio(double median, const char *target)
{
	json_t *row = json_pack("{s:{s:f, s:f, s:f}, s:s?, s:b}", "ratio", "median", median, "min",
		median, "max", median, "target", target, "met", 0);
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	cr_assert_not_null(file);
	ratio_draw(file, row);
	(void)fclose(file);
	json_decref(row);
	return text;
}

/* Of the dot, or -1 when there is none. */
static double dot_of(const char *drawing)
{
	const char *at = strstr(drawing, "cx=\"");

	return at ? atof(at + 4) : -1;
}

Test(perf_report, ratios_of_all_rows_have_one_scale)
{
	static const double ratios[] = {0.1, 1, 10};
	double x[ARRAY_SIZE(ratios)];

	for (size_t i = 0; i < ARRAY_SIZE(ratios); i++) {
		char *text = drawn_ratio(ratios[i], NULL);

		x[i] = dot_of(text);
		free(text);
	}

	cr_assert_gt(x[0], 0.0);
	cr_assert_gt(x[1], x[0]);
	cr_assert_float_eq(x[2] - x[1], x[1] - x[0], 0.15);
}

Test(perf_report, a_ratio_beyond_the_scale_is_an_arrow)
{
	char *text = drawn_ratio(1e6, NULL);

	cr_assert_lt(dot_of(text), 0.0);
	cr_assert_not_null(strstr(text, "<path class=\"mark\""));
	free(text);
}

Test(perf_report, a_target_is_marked_and_no_target_is_not)
{
	static const char *const none[] = {NULL, "", "<", "<=x", "<=0"};
	char *text = drawn_ratio(1, "<=1.1");

	cr_assert_not_null(strstr(text, "class=\"target\""));
	free(text);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		text = drawn_ratio(1, none[i]);
		cr_expect_null(strstr(text, "class=\"target\""));
		free(text);
	}
}
