/* SPDX-License-Identifier: Apache-2.0 */
/* Ratios of rows, drawn below each other on one logarithmic axis. */
#ifndef VMSWAP_PERF_REPORT_RATIO_H
#define VMSWAP_PERF_REPORT_RATIO_H

#include <jansson.h>
#include <stdio.h>

/* The axis that all rows have, with labels. */
void ratio_axis(FILE *file);
/*
 * One row: median and range, and its target with the side that meets it washed. What is beyond the
 * axis is an arrow at its end.
 */
void ratio_draw(FILE *file, const json_t *row);

#endif
