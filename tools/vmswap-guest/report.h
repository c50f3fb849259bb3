/* SPDX-License-Identifier: Apache-2.0 */
/* What vmswap-guest prints: whole lines, one write each, so that processes do not mix theirs. */
#ifndef VMSWAP_TOOLS_REPORT_H
#define VMSWAP_TOOLS_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct mismatch;

void report_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* To stderr, with the program's name. */
void report_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints and frees. */
void report_json(json_t *object);
/* One BAD line; @what: what the page should have held. */
void report_bad(bool as_json, uint64_t page, const char *what, const struct mismatch *mismatch);

#endif
