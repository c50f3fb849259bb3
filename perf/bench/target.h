/* SPDX-License-Identifier: Apache-2.0 */
/* What vmswap-bench is to show: the table of issue 3, section 2. */
#ifndef VMSWAP_PERF_BENCH_TARGET_H
#define VMSWAP_PERF_BENCH_TARGET_H

#include <jansson.h>
#include <stdbool.h>

#define TARGET_TEXT_BYTES 16

struct target {
	const char *id;	       /* "P1" */
	const char *part;      /* as in struct row; NULL: the row without part */
	const char *placement; /* at which it is set */
	const char *what;
	bool is_ceiling; /* the ratio must be <= bound, else >= bound */
	double bound;
	double stretch; /* 0: none */
};

/* NULL when such a row has no target. */
const struct target *target_find(const char *id, const char *part, const char *placement);
bool target_is_met(const struct target *target, double ratio);
/* "<=1.1", of TARGET_TEXT_BYTES. */
void target_text(const struct target *target, char *ret_text);
/* `vmswap-bench targets`: every target against the rows of @results. Exit status: 0 all met. */
int target_print(const json_t *results);

#endif
