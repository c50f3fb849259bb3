/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of the report, as inline SVG. */
#ifndef VMSWAP_PERF_REPORT_PICTURE_H
#define VMSWAP_PERF_REPORT_PICTURE_H

#include <jansson.h>
#include <stdio.h>

/* Every series, of the kinds in perf/bench/results.h, a figure each. */
void picture_series(FILE *file, const json_t *series);

#endif
