/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/rates.h"

#include <string.h>

#include "perf/report/figure.h"
#include "perf/report/page.h"
#include "perf/report/quantity.h"
#include "perf/report/spread.h"
#include "queue/base/bits.h"

/* Left of the bars their names, right of them the values. */
#define LEFT	   190.0
#define BAR_WIDTH  560.0
#define BAR_STEP   19.0
#define ROW_HEIGHT 70

static bool is_rate(const json_t *row)
{
	const char *unit = json_string_value(json_object_get(row, "unit"));

	return unit && strstr(unit, "/s") != NULL;
}

static void draw_title(FILE *file, const json_t *row, double top)
{
	(void)fprintf(file, "<text class=\"strong\" x=\"4\" y=\"%.1f\">", top + 14);
	page_member(file, row, "id");
	(void)fputc(' ', file);
	page_member(file, row, "part");
	(void)fputs("<tspan class=\"sub\"> — ", file);
	page_member(file, row, "what");
	(void)fputs("</tspan>", file);
	if (json_is_true(json_object_get(row, "noisy")))
		(void)fputs("<tspan class=\"noisy\"> ~ noisy</tspan>", file);
	(void)fputs("</text>\n", file);
}

/* One bar of @scale pixels a unit, with the range of its rounds as a whisker. */
static void draw_bar(FILE *file, const struct spread *rate, double scale, double top)
{
	(void)fprintf(file,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"15\" fill=\"currentColor\"/>"
		"<path class=\"whisker\" fill=\"none\" d=\"M%.1f %.1fH%.1fm0 -4v8M%.1f %.1fv8\"/>",
		LEFT, top, rate->median * scale, LEFT + rate->min * scale, top + 7.5,
		LEFT + rate->max * scale, LEFT + rate->min * scale, top + 3.5);
}

static void label_bar(FILE *file, const json_t *row, const struct spread *rate, const char *key,
	double scale, double top)
{
	(void)fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 8, top + 12);
	page_member(file, row, key);
	(void)fprintf(file, "</text><text x=\"%.1f\" y=\"%.1f\">", LEFT + rate->max * scale + 8,
		top + 12);
	quantity_print(file, rate->median, json_string_value(json_object_get(row, "unit")));
	(void)fputs("</text>\n", file);
}

static void draw_rate(FILE *file, const json_t *row, double top)
{
	static const char *const keys[] = {"subject", "reference"};
	const json_t *values = json_object_get(row, "values");
	struct spread rate[ARRAY_SIZE(keys)];
	double scale;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!spread_of_array(json_object_get(values, keys[i]), &rate[i]))
			return;
	scale = BAR_WIDTH / MAX(MAX(rate[0].max, rate[1].max), 1e-9);
	draw_title(file, row, top);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		(void)fprintf(file, "<g class=\"%s\">", figure_colour(i));
		draw_bar(file, &rate[i], scale, top + 22 + BAR_STEP * (double)i);
		label_bar(file, row, &rate[i], keys[i], scale, top + 22 + BAR_STEP * (double)i);
		(void)fputs("</g>\n", file);
	}
}

void rates_draw(FILE *file, const json_t *rows)
{
	int count = 0;

	for (size_t i = 0; i < json_array_size(rows); i++)
		count += is_rate(json_array_get(rows, i));
	if (count == 0)
		return;
	figure_begin(file, "rates", "Rates",
		"Median of the rounds, whiskers from the slowest to the fastest. Each pair has a "
		"scale of its own.",
		ROW_HEIGHT * count);
	count = 0;
	for (size_t i = 0; i < json_array_size(rows); i++)
		if (is_rate(json_array_get(rows, i)))
			draw_rate(file, json_array_get(rows, i), (double)(ROW_HEIGHT * count++));
	figure_end(file);
}
