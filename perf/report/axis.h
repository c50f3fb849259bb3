/* SPDX-License-Identifier: Apache-2.0 */
/* A frame to draw in: two axes, linear or logarithmic, with ticks and names. */
#ifndef VMSWAP_PERF_REPORT_AXIS_H
#define VMSWAP_PERF_REPORT_AXIS_H

#include <stdbool.h>
#include <stdio.h>

struct axis {
	const char *name;
	double min, max; /* of the values; logarithmic: above 0 */
	bool is_logarithmic;
};

struct frame {
	double left, top, width, height; /* of the area inside the axes, in pixels */
	struct axis x, y;
};

double frame_x(const struct frame *frame, double value);
double frame_y(const struct frame *frame, double value);
/* The axes, their ticks and names. */
void frame_draw(FILE *file, const struct frame *frame);

#endif
