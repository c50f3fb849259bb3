/* SPDX-License-Identifier: Apache-2.0 */
/* Median and range of a few values. */
#ifndef VMSWAP_PERF_REPORT_SPREAD_H
#define VMSWAP_PERF_REPORT_SPREAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct spread {
	double median, min, max;
};

/* Sorts @values; there is at least one. */
struct spread spread_of(double *values, uint32_t count);
/* Of an array of numbers. False when it holds none, or there is no memory for them. */
bool spread_of_array(const json_t *array, struct spread *ret_spread);

#endif
