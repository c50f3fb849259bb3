/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database in small, for a memory access pattern like that of a real one: rows in the order of
 * their keys, a tree of index pages that is searched page by page, and a log.
 *
 *   index   | root | inner … | leaves ............ |   NODE_KEYS a page, found by bisection
 *   rows    | 16 a page ........................... |   sorted by key
 *   log     | append only .......→                  |
 *
 * Queries look rows up by keys drawn with Zipf's law, exponent 0.99, hot keys scattered; some
 * change the row and append to the log, some go on through the next DATABASE_SCAN_ROWS rows. Each
 * row read is checked.
 */
#ifndef VMSWAP_TESTS_GUEST_INIT_DATABASE_H
#define VMSWAP_TESTS_GUEST_INIT_DATABASE_H

#include <stdint.h>

#define DATABASE_SCAN_ROWS 64u
/* One lookup in so many goes on to a scan, one in so many changes its row. */
#define DATABASE_SCAN_EACH   16u
#define DATABASE_CHANGE_EACH 4u

struct database;

struct database_work {
	uint64_t lookups, changes, scans, log_bytes;
	uint64_t bad_rows; /* not found, or not what was written */
};

/* Builds @mib of rows, the index, and the keys of @queries. -ENOMEM. It is never freed. */
int database_open(uint64_t mib, uint64_t queries, struct database **ret_database);
uint64_t database_rows(const struct database *database);
uint64_t database_index_pages(const struct database *database);
/* Runs the queries, the same ones each time. */
void database_query(struct database *database, struct database_work *ret_work);

#endif
