/* SPDX-License-Identifier: Apache-2.0 */
/* Distributions of latencies. */
#ifndef VMSWAP_PERF_REPORT_CDF_H
#define VMSWAP_PERF_REPORT_CDF_H

#include <jansson.h>
#include <stdio.h>

/* A series of the kind "cdf" (perf/bench/results.h). Nothing without a latency above 0. */
void cdf_draw(FILE *file, const json_t *series);

#endif
