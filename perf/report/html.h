/* SPDX-License-Identifier: Apache-2.0 */
/* The report: one self-contained HTML file with pictures, from the results' JSON. */
#ifndef VMSWAP_PERF_REPORT_HTML_H
#define VMSWAP_PERF_REPORT_HTML_H

#include <jansson.h>

/* Writes beside @path and renames; a failure leaves @path as it was. 0 or -errno. */
int html_write(const json_t *results, const char *path);

#endif
