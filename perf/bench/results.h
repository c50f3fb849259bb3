/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The results of runs, as one JSON document:
 *
 *   {"version":1, "host":{…}, "rows":[ROW…], "series":[SERIES…], "skipped":[{"what","why"}…]}
 *
 * ROW is as row_json() says. SERIES is what pictures are drawn from:
 *   {"name","kind":"cdf","title","lines":[{"name","x":[us…],"y":[share…]}…]}
 *   {"name","kind":"timeline","title","bucket_us","stall_us":[…],"phases":[{"name","begin_us",
 *    "end_us"}…],"states":[{"at_us","resident","staged","swapped","zero"}…]}
 *   {"name","kind":"points","title","points":[{"shards","threads","faults_per_s","min","max"}…],
 *    "reference":{"name","points":[{"threads","faults_per_s","min","max"}…]}}
 *
 * A row or series replaces an older one of the same id, part and placement, or name: several
 * partial runs make one file.
 */
#ifndef VMSWAP_PERF_BENCH_RESULTS_H
#define VMSWAP_PERF_BENCH_RESULTS_H

#include <jansson.h>
#include <stddef.h>

struct results;

/* @host is stolen. NULL: no memory. */
struct results *results_new(json_t *host);
/* NULL, and a reason. */
struct results *results_load(const char *path, char *ret_why, size_t size);
/* Writes beside @path and renames; a failure leaves @path as it was. -errno. */
int results_save(const struct results *results, const char *path);
/* NULL is fine. */
void results_free(struct results *results);

/* @row and @series are stolen. */
void results_add_row(struct results *results, json_t *row);
void results_add_series(struct results *results, json_t *series);
void results_add_skipped(struct results *results, const char *what, const char *why);
/* Borrowed. */
const json_t *results_json(const struct results *results);

#endif
