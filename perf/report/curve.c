/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/curve.h"

#include "perf/report/axis.h"
#include "perf/report/figure.h"
#include "perf/report/page.h"
#include "queue/base/bits.h"

#define HEIGHT 360
/* Of the page's colours, less the reference's. */
#define LINES_MAX 7u
/* Shards of the reference's points, which have none. */
#define NO_SHARDS 0

struct line {
	const json_t *points;
	int shards; /* of the points that are its own */
	size_t index;
};

static int shards_of(const json_t *point)
{
	return (int)json_integer_value(json_object_get(point, "shards"));
}

static void widen(struct frame *frame, const json_t *points)
{
	for (size_t i = 0; i < json_array_size(points); i++) {
		const json_t *point = json_array_get(points, i);
		const double threads = MAX(figure_number(point, "threads"), 1);

		frame->x.min = MIN(frame->x.min, threads);
		frame->x.max = MAX(frame->x.max, threads);
		frame->y.max = MAX(frame->y.max,
			MAX(figure_number(point, "max"), figure_number(point, "faults_per_s")));
	}
}

static void draw_range(FILE *file, const struct frame *frame, const json_t *point)
{
	const double x = frame_x(frame, figure_number(point, "threads"));

	(void)fprintf(file,
		"<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"currentColor\"/>"
		"<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"currentColor\"/>\n",
		x, x, frame_y(frame, figure_number(point, "min")),
		frame_y(frame, figure_number(point, "max")), x,
		frame_y(frame, figure_number(point, "faults_per_s")));
}

static void draw_line(FILE *file, const struct frame *frame, const struct line *line)
{
	(void)fprintf(file, "<g class=\"%s\">\n", figure_colour(line->index));
	for (size_t i = 0; i < json_array_size(line->points); i++)
		if (shards_of(json_array_get(line->points, i)) == line->shards)
			draw_range(file, frame, json_array_get(line->points, i));
	(void)fprintf(file,
		"<polyline fill=\"none\" stroke=\"currentColor\" stroke-width=\"2.5\"%s points=\"",
		line->shards == NO_SHARDS ? " stroke-dasharray=\"7 5\"" : "");
	for (size_t i = 0; i < json_array_size(line->points); i++) {
		const json_t *point = json_array_get(line->points, i);

		if (shards_of(point) == line->shards)
			(void)fprintf(file, "%.1f,%.1f ",
				frame_x(frame, figure_number(point, "threads")),
				frame_y(frame, figure_number(point, "faults_per_s")));
	}
	(void)fputs("\"/></g>\n", file);
}

/* @slot counts down the legend. */
static void name_line(
	FILE *file, const struct frame *frame, size_t colour, size_t slot, const char *name)
{
	figure_legend(file, colour, frame->left + frame->width + 20,
		frame->top + 14 + 22 * (double)slot, name);
}

/* Whether an earlier point has the same number of shards. */
static bool is_drawn(const json_t *points, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (shards_of(json_array_get(points, i)) ==
			shards_of(json_array_get(points, index)))
			return true;
	return false;
}

/* How many lines. */
static size_t draw_shards(FILE *file, const struct frame *frame, const json_t *points)
{
	struct line line = {.points = points};
	char name[32];

	for (size_t i = 0; i < json_array_size(points) && line.index < LINES_MAX; i++) {
		line.shards = shards_of(json_array_get(points, i));
		if (line.shards == NO_SHARDS || is_drawn(points, i))
			continue;
		draw_line(file, frame, &line);
		(void)snprintf(
			name, sizeof(name), "%d shard%s", line.shards, line.shards == 1 ? "" : "s");
		name_line(file, frame, line.index, line.index, name);
		line.index++;
	}
	return line.index;
}

static void draw_reference(
	FILE *file, const struct frame *frame, const json_t *reference, size_t slot)
{
	const struct line line = {
		.points = json_object_get(reference, "points"),
		.shards = NO_SHARDS,
		.index = LINES_MAX,
	};

	if (json_array_size(line.points) == 0)
		return;
	draw_line(file, frame, &line);
	name_line(file, frame, line.index, slot,
		json_string_value(json_object_get(reference, "name")));
}

void curve_draw(FILE *file, const json_t *series)
{
	const json_t *points = json_object_get(series, "points");
	const json_t *reference = json_object_get(series, "reference");
	const char *name = json_string_value(json_object_get(series, "name"));
	const char *title = json_string_value(json_object_get(series, "title"));
	struct frame frame = {
		.left = 100,
		.top = 10,
		.width = 680,
		.height = HEIGHT - 60,
		.x = {.name = "threads", .min = 1e9, .kind = AXIS_DOUBLINGS},
		.y = {.name = "faults a second"},
	};

	widen(&frame, points);
	widen(&frame, json_object_get(reference, "points"));
	if (!(frame.y.max > 0))
		return;
	frame.x.max = MAX(frame.x.max, 2 * frame.x.min);
	axis_round(&frame.y);
	figure_begin(file, name, title ? title : name,
		"Median of the rounds, and their range; higher is better.", HEIGHT);
	frame_draw(file, &frame);
	draw_reference(file, &frame, reference, draw_shards(file, &frame, points));
	figure_end(file);
}
