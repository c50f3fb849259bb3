/* SPDX-License-Identifier: Apache-2.0 */
/* Rates against numbers of threads. */
#ifndef VMSWAP_PERF_REPORT_CURVE_H
#define VMSWAP_PERF_REPORT_CURVE_H

#include <jansson.h>
#include <stdio.h>

/*
 * A series of the kind "points" (perf/bench/results.h): a line for each number of shards, and a
 * dashed one of the reference. Nothing without a rate above 0.
 */
void curve_draw(FILE *file, const json_t *series);

#endif
