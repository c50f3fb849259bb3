/* SPDX-License-Identifier: Apache-2.0 */
/* A frame to draw in: two axes with ticks, units and names. */
#ifndef VMSWAP_PERF_REPORT_AXIS_H
#define VMSWAP_PERF_REPORT_AXIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TICKS_MAX 64u

enum axis_kind {
	AXIS_LINEAR,
	AXIS_DECADES,	/* logarithmic, ticks at 1, 2, 5, 10, … */
	AXIS_DOUBLINGS, /* logarithmic, ticks at 1, 2, 4, 8, … */
};

struct axis {
	const char *name;
	const char *unit; /* of the ticks, as quantity_print() takes it */
	double min, max;  /* of the values, min < max; logarithmic: above 0 */
	enum axis_kind kind;
};

struct tick {
	double value;
	bool has_label;
};

struct frame {
	double left, top, width, height; /* of the area inside the axes, in pixels */
	struct axis x, y;
};

/* Ascending, inside the axis. How many. */
size_t axis_ticks(const struct axis *axis, struct tick ret_ticks[TICKS_MAX]);
/* Widens an axis to the next tick: a linear one above, one of decades on both sides. */
void axis_round(struct axis *axis);

/* Values outside the axis are put at its end. */
double frame_x(const struct frame *frame, double value);
double frame_y(const struct frame *frame, double value);
/* The axes, their ticks and names. */
void frame_draw(FILE *file, const struct frame *frame);

#endif
