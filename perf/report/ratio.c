/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/ratio.h"

#include <string.h>

#include "perf/report/axis.h"
#include "perf/report/figure.h"
#include "queue/base/bits.h"

#define HEIGHT 24

static const struct frame frame = {
	.left = 16,
	.width = 288,
	.x = {.min = 0.05, .max = 20, .kind = AXIS_DECADES},
};

static void begin(FILE *file)
{
	(void)fprintf(file,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 320 %d\" "
		"aria-hidden=\"true\">",
		HEIGHT);
}

static void draw_grid(FILE *file)
{
	struct tick ticks[TICKS_MAX];
	const size_t count = axis_ticks(&frame.x, ticks);

	for (size_t i = 0; i < count; i++)
		(void)fprintf(file,
			"<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"%d\"/>",
			ticks[i].value > 0.99 && ticks[i].value < 1.01 ? "one" : "grid",
			frame_x(&frame, ticks[i].value), frame_x(&frame, ticks[i].value), HEIGHT);
}

void ratio_axis(FILE *file)
{
	struct tick ticks[TICKS_MAX];
	const size_t count = axis_ticks(&frame.x, ticks);

	begin(file);
	for (size_t i = 0; i < count; i++)
		(void)fprintf(file,
			"<text class=\"tick\" x=\"%.1f\" y=\"18\" text-anchor=\"middle\">%g</text>",
			frame_x(&frame, ticks[i].value), ticks[i].value);
	(void)fputs("</svg>", file);
}

static void draw_target(FILE *file, const char *target)
{
	double bound;
	double x;
	double left;
	double right;

	if (!target || strlen(target) < 3 || sscanf(target + 2, "%lf", &bound) != 1 || !(bound > 0))
		return;
	x = frame_x(&frame, bound);
	left = target[0] == '<' ? frame.left : x;
	right = target[0] == '<' ? x : frame.left + frame.width;
	(void)fprintf(file,
		"<rect class=\"wash\" x=\"%.1f\" width=\"%.1f\" y=\"0\" height=\"%d\"/>"
		"<line class=\"target\" x1=\"%.1f\" x2=\"%.1f\" y1=\"1\" y2=\"%d\"/>",
		left, right - left, HEIGHT, x, x, HEIGHT - 1);
}

static void draw_median(FILE *file, double median, bool is_noisy)
{
	const char *style = is_noisy ? "mark unsure" : "mark";
	const double x = frame_x(&frame, median);

	if (median < frame.x.min)
		(void)fprintf(file, "<path class=\"%s\" d=\"M0 12l10 -6v12z\"/>", style);
	else if (median > frame.x.max)
		(void)fprintf(file, "<path class=\"%s\" d=\"M320 12l-10 -6v12z\"/>", style);
	else
		(void)fprintf(
			file, "<circle class=\"%s\" cx=\"%.1f\" cy=\"12\" r=\"4.5\"/>", style, x);
}

static const char *colour_of(const json_t *row)
{
	const json_t *met = json_object_get(row, "met");

	if (!json_is_boolean(met))
		return "k0";
	return json_is_true(met) ? "good" : "bad";
}

void ratio_draw(FILE *file, const json_t *row)
{
	const json_t *ratio = json_object_get(row, "ratio");

	begin(file);
	draw_grid(file);
	draw_target(file, json_string_value(json_object_get(row, "target")));
	(void)fprintf(file,
		"<g class=\"%s\"><line stroke=\"currentColor\" stroke-width=\"3\" x1=\"%.1f\" "
		"x2=\"%.1f\" y1=\"12\" y2=\"12\"/>",
		colour_of(row), frame_x(&frame, figure_number(ratio, "min")),
		frame_x(&frame, figure_number(ratio, "max")));
	draw_median(
		file, figure_number(ratio, "median"), json_is_true(json_object_get(row, "noisy")));
	(void)fputs("</g></svg>", file);
}
