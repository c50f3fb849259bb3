/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/axis.h"

#include <math.h>

#include "perf/report/page.h"
#include "perf/report/quantity.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

/* Ticks of a linear axis, about. */
#define LINEAR_TICKS 5
/* Longer axes have labels at the decades only. */
#define LABELLED_DECADES 3
/* What rounding may move a tick that is at the end of its axis by. */
#define SLACK 1.0001

static const double steps[] = {1, 2, 5};

static double place(const struct axis *axis, double value)
{
	const double inside = MIN(MAX(value, axis->min), axis->max);

	ASSERT(axis->min < axis->max);
	if (axis->kind != AXIS_LINEAR)
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

static double linear_step(const struct axis *axis)
{
	const double raw = (axis->max - axis->min) / LINEAR_TICKS;
	const double power = pow(10, floor(log10(raw)));

	return (raw / power > 5 ? 10 : raw / power > 2 ? 5 : 2) * power;
}

static size_t linear_ticks(const struct axis *axis, struct tick *ret_ticks)
{
	const double step = linear_step(axis);
	const double first = ceil(axis->min / step - (SLACK - 1)) * step;
	size_t count = 0;

	while (count < TICKS_MAX && first + (double)count * step <= axis->max * SLACK) {
		ret_ticks[count] = (struct tick){first + (double)count * step, true};
		count++;
	}
	return count;
}

static size_t decade_ticks(const struct axis *axis, struct tick *ret_ticks)
{
	const bool has_all = axis->max / axis->min <= pow(10, LABELLED_DECADES) * SLACK;
	size_t count = 0;

	for (double power = pow(10, floor(log10(axis->min))); power <= axis->max * SLACK;
		power *= 10) {
		for (size_t i = 0; i < ARRAY_SIZE(steps) && count < TICKS_MAX; i++) {
			const double value = steps[i] * power;

			if (value * SLACK >= axis->min && value <= axis->max * SLACK)
				ret_ticks[count++] = (struct tick){value, i == 0 || has_all};
		}
	}
	return count;
}

static size_t doubling_ticks(const struct axis *axis, struct tick *ret_ticks)
{
	size_t count = 0;

	for (double value = exp2(ceil(log2(axis->min) - (SLACK - 1)));
		value <= axis->max * SLACK && count < TICKS_MAX; value *= 2)
		ret_ticks[count++] = (struct tick){value, true};
	return count;
}

size_t axis_ticks(const struct axis *axis, struct tick ret_ticks[TICKS_MAX])
{
	switch (axis->kind) {
	case AXIS_DECADES: return decade_ticks(axis, ret_ticks);
	case AXIS_DOUBLINGS: return doubling_ticks(axis, ret_ticks);
	case AXIS_LINEAR: break;
	}
	return linear_ticks(axis, ret_ticks);
}

/* The largest 1, 2 or 5 of a decade that is not above @value. */
static double round_down(double value)
{
	const double power = pow(10, floor(log10(value * SLACK)));
	double step = 1;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (steps[i] * power <= value * SLACK)
			step = steps[i];
	return step * power;
}

void axis_round(struct axis *axis)
{
	if (axis->kind == AXIS_LINEAR) {
		const double step = linear_step(axis);

		axis->max = ceil(axis->max / step) * step;
		return;
	}
	ASSERT(axis->kind == AXIS_DECADES);
	ASSERT(axis->min > 0);
	axis->min = round_down(axis->min);
	/* As 10 over 1, 2 and 5 is 10, 5 and 2. */
	axis->max = 1 / round_down(1 / axis->max);
}

static void draw_tick(FILE *file, const struct frame *frame, const struct tick *tick, bool is_x)
{
	const struct axis *axis = is_x ? &frame->x : &frame->y;
	const double bottom = frame->top + frame->height;
	const double right = frame->left + frame->width;
	const double x = is_x ? frame_x(frame, tick->value) : frame->left;
	const double y = is_x ? bottom : frame_y(frame, tick->value);

	(void)fprintf(file,
		"<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", x, y,
		is_x ? x : right, is_x ? frame->top : y);
	if (!tick->has_label)
		return;
	(void)fprintf(file, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
		is_x ? x : x - 6, is_x ? y + 17 : y + 4, is_x ? "middle" : "end");
	quantity_print(file, tick->value, axis->unit);
	(void)fputs("</text>\n", file);
}

static void draw_ticks(FILE *file, const struct frame *frame, bool is_x)
{
	struct tick ticks[TICKS_MAX];
	const size_t count = axis_ticks(is_x ? &frame->x : &frame->y, ticks);

	for (size_t i = 0; i < count; i++)
		draw_tick(file, frame, &ticks[i], is_x);
}

static void draw_names(FILE *file, const struct frame *frame)
{
	(void)fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
		frame->left + frame->width / 2, frame->top + frame->height + 38);
	page_text(file, frame->x.name);
	(void)fprintf(file,
		"</text><text transform=\"translate(%.1f,%.1f) rotate(-90)\" "
		"text-anchor=\"middle\">",
		frame->left - 64, frame->top + frame->height / 2);
	page_text(file, frame->y.name);
	(void)fputs("</text>\n", file);
}

void frame_draw(FILE *file, const struct frame *frame)
{
	draw_ticks(file, frame, true);
	draw_ticks(file, frame, false);
	draw_names(file, frame);
	(void)fprintf(file, "<path class=\"axis\" fill=\"none\" d=\"M%.1f %.1fV%.1fH%.1f\"/>\n",
		frame->left, frame->top, frame->top + frame->height, frame->left + frame->width);
}
