/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text for a terminal: aligned tables, and names made harmless. A process may call itself anything,
 * also an escape sequence.
 */
#ifndef VMSWAP_TOOLS_VMSWAPCTL_TABLE_H
#define VMSWAP_TOOLS_VMSWAPCTL_TABLE_H

#include <stdint.h>

#define TABLE_COLUMNS_MAX 12u

struct table;

/* Titles separated by '|'; one that ends in '>' is aligned to the right. */
struct table *table_new(const char *titles);
void table_free(struct table *table);
/* The next cell, row by row; control characters become '?'. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint32_t table_row_count(const struct table *table);
/* A line without its end; row 0 is the titles. To be freed. */
char *table_row(const struct table *table, uint32_t row);
/* All rows to stdout. */
void table_print(const struct table *table);

/* Replaces control characters by '?'. Returns @text. */
char *table_harmless(char *text);

#endif
