/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of the report, as inline SVG. */
#ifndef VMSWAP_PERF_REPORT_PICTURE_H
#define VMSWAP_PERF_REPORT_PICTURE_H

#include <jansson.h>
#include <stdio.h>

/* One row's ratio, min to max, on a logarithmic axis around 1, with its target. */
void picture_spread(FILE *file, const json_t *row);
/* Every series that is a CDF or a timeline, a figure each. */
void picture_series(FILE *file, const json_t *series);
/* Bars: subject and reference of each row that measures a rate. */
void picture_rates(FILE *file, const json_t *rows);

#endif
