/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/picture.h"

#include <math.h>
#include <string.h>

#include "perf/report/axis.h"
#include "perf/report/page.h"
#include "queue/base/bits.h"

#define WIDTH  960
#define HEIGHT 320

/* Told apart by most who see colours differently (Okabe and Ito, 2008). */
static const char *const colours[] = {
	"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d00", "#7f7f7f"};

static double number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static void begin_figure(FILE *file, const char *title, int height)
{
	(void)fputs("<figure><figcaption>", file);
	page_text(file, title);
	(void)fprintf(file,
		"</figcaption><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\">\n",
		WIDTH, height);
}

static void end_figure(FILE *file)
{
	(void)fputs("</svg></figure>\n", file);
}

void picture_spread(FILE *file, const json_t *row)
{
	const json_t *ratio = json_object_get(row, "ratio");
	const double min = MAX(number(ratio, "min"), 1e-9);
	const double median = MAX(number(ratio, "median"), 1e-9);
	const double max = MAX(number(ratio, "max"), 1e-9);
	const char *target = json_string_value(json_object_get(row, "target"));
	const struct frame frame = {
		.left = 2,
		.width = 156,
		.x = {.min = MIN(0.2, min / 1.2), .max = MAX(5, max * 1.2), .is_logarithmic = true},
	};
	double bound;

	(void)fprintf(file,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"160\" height=\"18\">"
		"<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"1\" y2=\"17\"/>"
		"<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"9\" y2=\"9\"/>"
		"<circle cx=\"%.1f\" cy=\"9\" r=\"4\" fill=\"%s\"/>",
		frame_x(&frame, 1), frame_x(&frame, 1), frame_x(&frame, min), frame_x(&frame, max),
		frame_x(&frame, median), colours[0]);
	if (target && sscanf(target + 2, "%lf", &bound) == 1 && bound > 0)
		(void)fprintf(file,
			"<line x1=\"%.1f\" x2=\"%.1f\" y1=\"2\" y2=\"16\" stroke=\"%s\" "
			"stroke-width=\"2\"/>",
			frame_x(&frame, bound), frame_x(&frame, bound), colours[1]);
	(void)fputs("</svg>", file);
}

static void draw_legend(FILE *file, size_t index, double x, double y, const char *name)
{
	(void)fprintf(file,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" fill=\"%s\"/>"
		"<text x=\"%.1f\" y=\"%.1f\">",
		x, y - 10, colours[index % ARRAY_SIZE(colours)], x + 18, y);
	page_text(file, name);
	(void)fputs("</text>\n", file);
}

static void draw_line(FILE *file, const struct frame *frame, const json_t *line, size_t index)
{
	const json_t *x = json_object_get(line, "x");
	const json_t *y = json_object_get(line, "y");

	(void)fputs("<polyline fill=\"none\" stroke-width=\"2\" points=\"", file);
	for (size_t i = 0; i < json_array_size(x); i++)
		(void)fprintf(file, "%.1f,%.1f ",
			frame_x(frame, json_number_value(json_array_get(x, i))),
			frame_y(frame, json_number_value(json_array_get(y, i))));
	(void)fprintf(file, "\" stroke=\"%s\"/>\n", colours[index % ARRAY_SIZE(colours)]);
	draw_legend(file, index, frame->left + frame->width + 16,
		frame->top + 14 + 20.0 * (double)index,
		json_string_value(json_object_get(line, "name")));
}

static void draw_cdf(FILE *file, const json_t *series)
{
	const json_t *lines = json_object_get(series, "lines");
	struct frame frame = {
		.left = 70,
		.top = 10,
		.width = 680,
		.height = HEIGHT - 60,
		.x = {.name = "latency (us)", .min = 1e9, .max = 0, .is_logarithmic = true},
		.y = {.name = "share of touches", .min = 0, .max = 1},
	};

	for (size_t i = 0; i < json_array_size(lines); i++) {
		const json_t *x = json_object_get(json_array_get(lines, i), "x");
		const size_t count = json_array_size(x);

		frame.x.min = MIN(frame.x.min, json_number_value(json_array_get(x, 0)));
		/* Without the maximum, which would make the axis. */
		frame.x.max = MAX(frame.x.max,
			json_number_value(json_array_get(x, count < 3 ? count - 1 : count - 3)));
	}
	if (!(frame.x.min > 0) || frame.x.max <= frame.x.min)
		return;
	begin_figure(file, json_string_value(json_object_get(series, "title")), HEIGHT);
	frame_draw(file, &frame);
	for (size_t i = 0; i < json_array_size(lines); i++)
		draw_line(file, &frame, json_array_get(lines, i), i);
	end_figure(file);
}

static void draw_phases(FILE *file, const struct frame *frame, const json_t *phases)
{
	for (size_t i = 0; i < json_array_size(phases); i++) {
		const json_t *phase = json_array_get(phases, i);
		const double begin = frame_x(frame, number(phase, "begin_us") / 1e6);
		const double end = frame_x(frame, number(phase, "end_us") / 1e6);

		(void)fprintf(file,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\" "
			"opacity=\"0.12\"/><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
			begin, frame->top, MAX(end - begin, 1), frame->height,
			colours[i % ARRAY_SIZE(colours)], (begin + end) / 2,
			frame->top - 5 - 14 * (double)(i % 2));
		page_text(file, json_string_value(json_object_get(phase, "name")));
		(void)fputs("</text>\n", file);
	}
}

static void draw_stalls(FILE *file, const struct frame *frame, const json_t *series)
{
	const json_t *stalls = json_object_get(series, "stall_us");
	const double bucket_us = number(series, "bucket_us");

	for (size_t i = 0; i < json_array_size(stalls); i++) {
		const double stall = json_number_value(json_array_get(stalls, i));

		if (stall > 0)
			(void)fprintf(file,
				"<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2\" fill=\"%s\"/>\n",
				frame_x(frame, ((double)i + 0.5) * bucket_us / 1e6),
				frame_y(frame, stall), colours[0]);
	}
}

/* One state's band, on top of those before it. */
static void draw_band(FILE *file, const struct frame *frame, const json_t *states,
	const char *const *keys, size_t k)
{
	(void)fputs("<polygon opacity=\"0.8\" points=\"", file);
	for (size_t turn = 0; turn < 2; turn++) {
		for (size_t i = 0; i < json_array_size(states); i++) {
			const json_t *state = json_array_get(
				states, turn == 0 ? i : json_array_size(states) - 1 - i);
			double sum = 0;

			for (size_t below = 0; below < k + (turn == 0); below++)
				sum += number(state, keys[below]);
			(void)fprintf(file, "%.1f,%.1f ",
				frame_x(frame, number(state, "at_us") / 1e6), frame_y(frame, sum));
		}
	}
	(void)fprintf(file, "\" fill=\"%s\"/>\n", colours[k]);
	draw_legend(file, k, frame->left + frame->width + 16, frame->top + 14 + 20.0 * (double)k,
		keys[k]);
}

static void draw_timeline(FILE *file, const json_t *series)
{
	static const char *const keys[] = {"resident", "staged", "swapped", "zero"};
	const json_t *stalls = json_object_get(series, "stall_us");
	const json_t *states = json_object_get(series, "states");
	const double seconds = (double)json_array_size(stalls) * number(series, "bucket_us") / 1e6;
	struct frame frame = {
		.left = 70,
		.top = 40,
		.width = 740,
		.height = HEIGHT - 90,
		.x = {.name = "time (s)", .min = 0, .max = seconds},
		.y = {.name = "longest stall in 10 ms (us)",
			.min = 10,
			.max = 1e5,
			.is_logarithmic = true},
	};

	if (!(seconds > 0) || json_array_size(states) < 2)
		return;
	begin_figure(file, json_string_value(json_object_get(series, "title")), 2 * HEIGHT);
	draw_phases(file, &frame, json_object_get(series, "phases"));
	frame_draw(file, &frame);
	draw_stalls(file, &frame, series);
	frame.top += HEIGHT;
	frame.y = (struct axis){.name = "share of the pages", .min = 0, .max = 1};
	frame_draw(file, &frame);
	for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
		draw_band(file, &frame, states, keys, k);
	end_figure(file);
}

void picture_series(FILE *file, const json_t *series)
{
	(void)fputs("<h2>Pictures</h2>\n", file);
	for (size_t i = 0; i < json_array_size(series); i++) {
		const json_t *one = json_array_get(series, i);
		const char *kind = json_string_value(json_object_get(one, "kind"));

		if (kind && strcmp(kind, "cdf") == 0)
			draw_cdf(file, one);
		else if (kind && strcmp(kind, "timeline") == 0)
			draw_timeline(file, one);
	}
}

static double mean_of(const json_t *values)
{
	double sum = 0;

	for (size_t i = 0; i < json_array_size(values); i++)
		sum += json_number_value(json_array_get(values, i));
	return sum / (double)MAX(json_array_size(values), 1u);
}

/* Two bars, the longer one as long as the frame. */
static void draw_rate(FILE *file, const json_t *row, double top)
{
	const json_t *values = json_object_get(row, "values");
	const double rate[2] = {mean_of(json_object_get(values, "subject")),
		mean_of(json_object_get(values, "reference"))};
	const double longest = MAX(MAX(rate[0], rate[1]), 1e-9);
	const char *part = json_string_value(json_object_get(row, "part"));

	(void)fprintf(file, "<text x=\"190\" y=\"%.1f\" text-anchor=\"end\">", top + 18);
	page_text(file, json_string_value(json_object_get(row, "id")));
	(void)fputc(' ', file);
	page_text(file, part);
	(void)fputs("</text>\n", file);
	for (int i = 0; i < 2; i++) {
		(void)fprintf(file,
			"<rect x=\"200\" y=\"%.1f\" width=\"%.1f\" height=\"11\" fill=\"%s\"/>"
			"<text x=\"%.1f\" y=\"%.1f\">%.4g ",
			top + 13 * i, 420 * rate[i] / longest, colours[i],
			206 + 420 * rate[i] / longest, top + 13 * i + 10, rate[i]);
		page_text(file, json_string_value(json_object_get(row, "unit")));
		(void)fputc(' ', file);
		page_text(file,
			json_string_value(json_object_get(row, i == 0 ? "subject" : "reference")));
		(void)fputs("</text>\n", file);
	}
}

static bool is_rate(const json_t *row)
{
	const char *unit = json_string_value(json_object_get(row, "unit"));

	return unit && strstr(unit, "/s") != NULL;
}

void picture_rates(FILE *file, const json_t *rows)
{
	int count = 0;

	for (size_t i = 0; i < json_array_size(rows); i++)
		count += is_rate(json_array_get(rows, i));
	if (count == 0)
		return;
	begin_figure(file, "Rates, mean of the rounds", 36 * count + 10);
	count = 0;
	for (size_t i = 0; i < json_array_size(rows); i++)
		if (is_rate(json_array_get(rows, i)))
			draw_rate(file, json_array_get(rows, i), 6 + 36.0 * count++);
	end_figure(file);
}
