/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the results, in figures. */
#ifndef VMSWAP_PERF_REPORT_TABLE_H
#define VMSWAP_PERF_REPORT_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* How many targets are met, and each of them at a glance, leading to its row. */
void table_summary(FILE *file, const json_t *rows);
/* The rows with a target, or those without; nothing when there are none. */
void table_draw(FILE *file, const json_t *rows, bool has_target, const char *title);

#endif
