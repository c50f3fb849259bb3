/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/timeline.h"

#include "perf/report/axis.h"
#include "perf/report/figure.h"
#include "perf/report/page.h"
#include "queue/base/bits.h"

#define HEIGHT 320

static void draw_phases(FILE *file, const struct frame *frame, const json_t *phases)
{
	for (size_t i = 0; i < json_array_size(phases); i++) {
		const json_t *phase = json_array_get(phases, i);
		const double begin = frame_x(frame, figure_number(phase, "begin_us") / 1e6);
		const double end = frame_x(frame, figure_number(phase, "end_us") / 1e6);

		(void)fprintf(file,
			"<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
			"fill=\"currentColor\" opacity=\"0.14\"/>"
			"<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
			figure_colour(i), begin, frame->top, MAX(end - begin, 1), frame->height,
			(begin + end) / 2, frame->top - 6 - 15 * (double)(i % 2));
		page_member(file, phase, "name");
		(void)fputs("</text>\n", file);
	}
}

static void draw_stalls(FILE *file, const struct frame *frame, const json_t *series)
{
	const json_t *stalls = json_object_get(series, "stall_us");
	const double bucket_us = figure_number(series, "bucket_us");

	(void)fputs("<g class=\"k0\" fill=\"currentColor\">\n", file);
	for (size_t i = 0; i < json_array_size(stalls); i++) {
		const double stall = json_number_value(json_array_get(stalls, i));

		if (stall > 0)
			(void)fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n",
				frame_x(frame, ((double)i + 0.5) * bucket_us / 1e6),
				frame_y(frame, stall));
	}
	(void)fputs("</g>\n", file);
}

/* Percent of the pages in the first @count states. */
static double sum_of(const json_t *state, const char *const *keys, size_t count)
{
	double sum = 0;

	for (size_t k = 0; k < count; k++)
		sum += 100 * figure_number(state, keys[k]);
	return sum;
}

/* One state's band, on top of those before it: along its top, and back along its bottom. */
static void draw_band(FILE *file, const struct frame *frame, const json_t *states,
	const char *const *keys, size_t k)
{
	const size_t count = json_array_size(states);

	(void)fprintf(file,
		"<polygon class=\"%s\" opacity=\"0.85\" fill=\"currentColor\" points=\"",
		figure_colour(k));
	for (size_t i = 0; i < 2 * count; i++) {
		const json_t *state = json_array_get(states, i < count ? i : 2 * count - 1 - i);

		(void)fprintf(file, "%.1f,%.1f ",
			frame_x(frame, figure_number(state, "at_us") / 1e6),
			frame_y(frame, sum_of(state, keys, k + (i < count))));
	}
	(void)fputs("\"/>\n", file);
	figure_legend(file, k, frame->left + frame->width + 20, frame->top + 14 + 22.0 * (double)k,
		keys[k]);
}

/* From 10 us to 100 ms, or to what the longest is. */
static struct axis stall_axis(const json_t *stalls)
{
	struct axis axis = {
		.name = "longest stall", .unit = "us", .min = 10, .max = 1e5, .kind = AXIS_DECADES};

	for (size_t i = 0; i < json_array_size(stalls); i++)
		axis.max = MAX(axis.max, json_number_value(json_array_get(stalls, i)));
	axis_round(&axis);
	return axis;
}

void timeline_draw(FILE *file, const json_t *series)
{
	static const char *const keys[] = {"resident", "staged", "swapped", "zero"};
	const json_t *stalls = json_object_get(series, "stall_us");
	const json_t *states = json_object_get(series, "states");
	const double seconds =
		(double)json_array_size(stalls) * figure_number(series, "bucket_us") / 1e6;
	struct frame frame = {
		.left = 80,
		.top = 40,
		.width = 740,
		.height = HEIGHT - 90,
		.x = {.name = "time (s)", .min = 0, .max = seconds},
		.y = stall_axis(stalls),
	};

	if (!(seconds > 0) || json_array_size(states) < 2)
		return;
	figure_begin(file, json_string_value(json_object_get(series, "name")),
		json_string_value(json_object_get(series, "title")),
		"A dot is the longest stall in a few milliseconds, while a guest's memory is "
		"staged, trimmed, written out and brought back.",
		2 * HEIGHT - 24);
	draw_phases(file, &frame, json_object_get(series, "phases"));
	frame_draw(file, &frame);
	draw_stalls(file, &frame, series);
	frame.top += HEIGHT - 24;
	frame.y = (struct axis){.name = "share of the pages", .unit = "%", .min = 0, .max = 100};
	for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
		draw_band(file, &frame, states, keys, k);
	frame_draw(file, &frame);
	figure_end(file);
}
