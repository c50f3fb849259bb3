/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/cdf.h"

#include "perf/report/axis.h"
#include "perf/report/figure.h"
#include "perf/report/page.h"
#include "perf/report/quantity.h"
#include "queue/base/bits.h"

#define HEIGHT 380
/* The axis holds this share of each line: the maxima would make it. */
#define SHOWN 0.995

static double at(const json_t *line, const char *key, size_t index)
{
	return json_number_value(json_array_get(json_object_get(line, key), index));
}

static size_t points_of(const json_t *line)
{
	return MIN(json_array_size(json_object_get(line, "x")),
		json_array_size(json_object_get(line, "y")));
}

/* The latency that @share of the touches do not exceed. */
static double latency_at(const json_t *line, double share)
{
	const size_t count = points_of(line);

	for (size_t i = 0; i < count; i++)
		if (at(line, "y", i) >= share - 1e-9)
			return at(line, "x", i);
	return count > 0 ? at(line, "x", count - 1) : 0;
}

/* False when there is nothing to draw. */
static bool fit(struct axis *axis, const json_t *lines)
{
	axis->min = 1e12;
	axis->max = 0;
	for (size_t i = 0; i < json_array_size(lines); i++) {
		const json_t *line = json_array_get(lines, i);

		axis->min = MIN(axis->min, at(line, "x", 0));
		axis->max = MAX(axis->max, latency_at(line, SHOWN));
	}
	if (!(axis->min > 0) || axis->max <= axis->min)
		return false;
	axis_round(axis);
	return true;
}

static void draw_points(FILE *file, const struct frame *frame, const json_t *line)
{
	const size_t count = points_of(line);

	for (size_t i = 0; i < count && at(line, "x", i) <= frame->x.max; i++)
		(void)fprintf(file, "%.1f,%.1f ", frame_x(frame, at(line, "x", i)),
			frame_y(frame, 100 * at(line, "y", i)));
}

static void draw_quantiles(FILE *file, const json_t *line, double x, double y)
{
	(void)fprintf(file, "<text class=\"sub\" x=\"%.1f\" y=\"%.1f\">p50 ", x, y);
	quantity_print(file, latency_at(line, 0.5), "us");
	(void)fputs(" · p99 ", file);
	quantity_print(file, latency_at(line, 0.99), "us");
	(void)fputs("</text>\n", file);
}

static void draw_line(FILE *file, const struct frame *frame, const json_t *line, size_t index)
{
	const double x = frame->left + frame->width + 20;
	const double y = frame->top + 14 + 36 * (double)index;

	(void)fprintf(file,
		"<polyline class=\"%s\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"%s\" "
		"points=\"",
		figure_colour(index), index == 0 ? "3.5" : "2");
	draw_points(file, frame, line);
	(void)fputs("\"/>\n", file);
	figure_legend(file, index, x, y, json_string_value(json_object_get(line, "name")));
	draw_quantiles(file, line, x + 18, y + 15);
}

void cdf_draw(FILE *file, const json_t *series)
{
	const json_t *lines = json_object_get(series, "lines");
	struct frame frame = {
		.left = 80,
		.top = 10,
		.width = 660,
		.height = HEIGHT - 60,
		.x = {.name = "latency", .unit = "us", .kind = AXIS_DECADES},
		.y = {.name = "touches that took no longer", .unit = "%", .min = 0, .max = 100},
	};

	if (!fit(&frame.x, lines))
		return;
	figure_begin(file, json_string_value(json_object_get(series, "name")),
		json_string_value(json_object_get(series, "title")),
		"Further left is faster; the slowest 0.5 % of the touches may be beyond the axis.",
		HEIGHT);
	frame_draw(file, &frame);
	/* The subject, which is the first, on top of the others. */
	for (size_t i = json_array_size(lines); i > 0; i--)
		draw_line(file, &frame, json_array_get(lines, i - 1), i - 1);
	figure_end(file);
}
