/* SPDX-License-Identifier: Apache-2.0 */
/* Bars of what was measured a second. */
#ifndef VMSWAP_PERF_REPORT_RATES_H
#define VMSWAP_PERF_REPORT_RATES_H

#include <jansson.h>
#include <stdio.h>

/* Subject and reference of each row that measures a rate, by the median of the rounds. */
void rates_draw(FILE *file, const json_t *rows);

#endif
