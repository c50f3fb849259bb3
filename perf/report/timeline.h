/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's stalls and the states of its pages over time. */
#ifndef VMSWAP_PERF_REPORT_TIMELINE_H
#define VMSWAP_PERF_REPORT_TIMELINE_H

#include <jansson.h>
#include <stdio.h>

/* A series of the kind "timeline" (perf/bench/results.h). Nothing without stalls and states. */
void timeline_draw(FILE *file, const json_t *series);

#endif
