/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/axis.h"

#include <math.h>

#include "perf/report/page.h"
#include "queue/base/bits.h"

/* Ticks of a linear axis, about. */
#define LINEAR_TICKS 5

static double place(const struct axis *axis, double value)
{
	const double inside = MIN(MAX(value, axis->min), axis->max);

	if (axis->is_logarithmic)
		return log(inside / axis->min) / log(axis->max / axis->min);
	return (inside - axis->min) / (axis->max - axis->min);
}

double frame_x(const struct frame *frame, double value)
{
	return frame->left + frame->width * place(&frame->x, value);
}

double frame_y(const struct frame *frame, double value)
{
	return frame->top + frame->height * (1 - place(&frame->y, value));
}

/* The first tick at or above the minimum, and what leads to the next. */
static double first_tick(const struct axis *axis, double *ret_step)
{
	double raw;
	double power;

	if (axis->is_logarithmic) {
		*ret_step = 10;
		return pow(10, ceil(log10(axis->min) - 1e-9));
	}
	raw = (axis->max - axis->min) / LINEAR_TICKS;
	power = pow(10, floor(log10(raw)));
	*ret_step = raw / power > 5 ? 10 * power : raw / power > 2 ? 5 * power : 2 * power;
	return ceil(axis->min / *ret_step) * *ret_step;
}

static double next_tick(const struct axis *axis, double tick, double step)
{
	return axis->is_logarithmic ? tick * step : tick + step;
}

static void draw_x(FILE *file, const struct frame *frame)
{
	const double bottom = frame->top + frame->height;
	double step;

	for (double tick = first_tick(&frame->x, &step); tick <= frame->x.max * 1.0001;
		tick = next_tick(&frame->x, tick, step)) {
		const double x = frame_x(frame, tick);

		(void)fprintf(file,
			"<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
			"<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>\n",
			x, frame->top, x, bottom, x, bottom + 16, tick);
	}
	(void)fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
		frame->left + frame->width / 2, bottom + 34);
	page_text(file, frame->x.name);
	(void)fputs("</text>\n", file);
}

static void draw_y(FILE *file, const struct frame *frame)
{
	double step;

	for (double tick = first_tick(&frame->y, &step); tick <= frame->y.max * 1.0001;
		tick = next_tick(&frame->y, tick, step)) {
		const double y = frame_y(frame, tick);

		(void)fprintf(file,
			"<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
			"<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
			frame->left, y, frame->left + frame->width, y, frame->left - 6, y + 4,
			tick);
	}
	(void)fprintf(file,
		"<text transform=\"translate(%.1f,%.1f) rotate(-90)\" text-anchor=\"middle\">",
		frame->left - 52, frame->top + frame->height / 2);
	page_text(file, frame->y.name);
	(void)fputs("</text>\n", file);
}

void frame_draw(FILE *file, const struct frame *frame)
{
	draw_x(file, frame);
	draw_y(file, frame);
	(void)fprintf(file, "<path class=\"axis\" fill=\"none\" d=\"M%.1f %.1fV%.1fH%.1f\"/>\n",
		frame->left, frame->top, frame->top + frame->height, frame->left + frame->width);
}
