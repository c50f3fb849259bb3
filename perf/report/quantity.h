/* SPDX-License-Identifier: Apache-2.0 */
/* Measured values as people say them. */
#ifndef VMSWAP_PERF_REPORT_QUANTITY_H
#define VMSWAP_PERF_REPORT_QUANTITY_H

#include <stdio.h>

/*
 * Three digits and the unit, of times and bytes with a prefix that fits: 8.71 µs, 94.5 MB; of other
 * units after one: 54.8k faults/s. NULL: no unit.
 */
void quantity_print(FILE *file, double value, const char *unit);

#endif
