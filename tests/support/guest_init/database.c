/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/guest_init/database.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "perf/client/order.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

#define ROW_WORDS  30u
#define NODE_KEYS  340u
#define LEVELS_MAX 4u
/* Keys leave gaps of up to this, so that a search cannot guess. */
#define KEY_GAP	   1000u
#define QUERY_SEED 1u
/* The log begins again at its end. */
#define LOG_BYTES (16 * MIB)

struct row {
	uint64_t key;
	uint64_t version;
	uint64_t word[ROW_WORDS];
};
static_assert(sizeof(struct row) == 256, "16 rows a page");

/* A page of the index. */
struct node {
	uint32_t count;
	uint32_t unused;
	uint64_t key[NODE_KEYS];   /* the lowest below each child */
	uint32_t child[NODE_KEYS]; /* a node of the level below; of a leaf: a row */
	uint64_t padding;
};
static_assert(sizeof(struct node) == PAGE_BYTES, "a node is a page");

struct log_record {
	uint64_t key, old_version, new_version, check;
	uint64_t payload[12];
};
static_assert(LOG_BYTES % sizeof(struct log_record) == 0, "the log holds whole records");

struct database {
	uint64_t row_count;
	struct row *row;
	uint32_t levels;
	struct node *level[LEVELS_MAX]; /* 0: leaves */
	uint64_t node_count[LEVELS_MAX];
	struct log_record *log;
	uint64_t log_next;
	uint32_t *query; /* row numbers */
	uint64_t query_count;
};

/* splitmix64's finish, as a hash. */
static uint64_t mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return value ^ (value >> 31);
}

static uint64_t key_of(uint64_t row)
{
	return row * KEY_GAP + mix(row + 1) % KEY_GAP;
}

static void write_row(struct row *row, uint64_t key, uint64_t version)
{
	row->key = key;
	row->version = version;
	for (uint64_t i = 0; i < ROW_WORDS; i++)
		row->word[i] = mix(key ^ (version << 40) ^ (i + 1));
}

static bool row_is_right(const struct row *row, uint64_t key)
{
	if (row->key != key)
		return false;
	for (uint64_t i = 0; i < ROW_WORDS; i++)
		if (row->word[i] != mix(key ^ (row->version << 40) ^ (i + 1)))
			return false;
	return true;
}

/* Whole pages, in RAM and zero. */
static void *pages_of(uint64_t bytes)
{
	const uint64_t rounded = divide_up(bytes, PAGE_BYTES) * PAGE_BYTES;
	void *memory = aligned_alloc(PAGE_BYTES, rounded);

	if (memory)
		memset(memory, 0, rounded);
	return memory;
}

static int build_rows(struct database *database, uint64_t bytes)
{
	database->row_count = bytes / sizeof(struct row);
	database->row = pages_of(bytes);
	if (!database->row)
		return -ENOMEM;
	for (uint64_t i = 0; i < database->row_count; i++)
		write_row(&database->row[i], key_of(i), 0);
	return 0;
}

/* The lowest key below child @child of a node of @level. */
static uint64_t lowest_key(const struct database *database, uint32_t level, uint64_t child)
{
	return level == 0 ? database->row[child].key : database->level[level - 1][child].key[0];
}

static int build_level(struct database *database, uint32_t level, uint64_t children)
{
	const uint64_t count = divide_up(children, NODE_KEYS);
	struct node *nodes = pages_of(count * sizeof(*nodes));

	if (!nodes)
		return -ENOMEM;
	for (uint64_t child = 0; child < children; child++) {
		struct node *node = &nodes[child / NODE_KEYS];

		node->key[node->count] = lowest_key(database, level, child);
		node->child[node->count] = (uint32_t)child;
		node->count++;
	}
	database->level[level] = nodes;
	database->node_count[level] = count;
	database->levels = level + 1;
	return 0;
}

static int build_index(struct database *database)
{
	uint64_t children = database->row_count;

	do {
		int error;

		ASSERT(database->levels < LEVELS_MAX);
		error = build_level(database, database->levels, children);
		if (error)
			return error;
		children = database->node_count[database->levels - 1];
	} while (children > 1);
	return 0;
}

int database_open(uint64_t mib, uint64_t queries, struct database **ret_database)
{
	struct database *database = calloc(1, sizeof(*database));
	int error;

	if (!database)
		return -ENOMEM;
	error = build_rows(database, mib * MIB);
	if (!error)
		error = build_index(database);
	if (error)
		return error;
	database->query_count = queries;
	database->query = pages_of(queries * sizeof(*database->query));
	database->log = aligned_alloc(PAGE_BYTES, LOG_BYTES); /* comes as it is written */
	if (!database->query || !database->log)
		return -ENOMEM;
	error = order_make(ORDER_ZIPF, database->row_count, queries, QUERY_SEED, database->query);
	if (!error)
		*ret_database = database;
	return error;
}

uint64_t database_rows(const struct database *database)
{
	return database->row_count;
}

uint64_t database_index_pages(const struct database *database)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < database->levels; i++)
		pages += database->node_count[i];
	return pages;
}

/* The last child whose lowest key is not above @key; the first one when there is none. */
static uint32_t find_child(const struct node *node, uint64_t key)
{
	uint32_t low = 0;
	uint32_t high = node->count;

	while (high - low > 1) {
		const uint32_t middle = low + (high - low) / 2;

		if (node->key[middle] <= key)
			low = middle;
		else
			high = middle;
	}
	return node->child[low];
}

static uint64_t find_row(const struct database *database, uint64_t key)
{
	uint32_t child = 0;

	for (uint32_t level = database->levels; level-- > 0;)
		child = find_child(&database->level[level][child], key);
	return child;
}

static void change(struct database *database, uint64_t row, struct database_work *work)
{
	struct row *changed = &database->row[row];
	struct log_record *record = &database->log[database->log_next];

	*record = (struct log_record){
		.key = changed->key,
		.old_version = changed->version,
		.new_version = changed->version + 1,
		.check = mix(changed->key ^ changed->version),
	};
	memcpy(record->payload, changed->word, sizeof(record->payload));
	database->log_next = (database->log_next + 1) % (LOG_BYTES / sizeof(*record));
	write_row(changed, changed->key, changed->version + 1);
	work->changes++;
	work->log_bytes += sizeof(*record);
}

static void scan(struct database *database, uint64_t first, struct database_work *work)
{
	const uint64_t end = MIN(first + DATABASE_SCAN_ROWS, database->row_count);

	for (uint64_t row = first; row < end; row++)
		work->bad_rows += !row_is_right(&database->row[row], key_of(row));
	work->scans++;
}

void database_query(struct database *database, struct database_work *ret_work)
{
	struct database_work work = {0};

	for (uint64_t i = 0; i < database->query_count; i++) {
		const uint64_t key = key_of(database->query[i]);
		const uint64_t row = find_row(database, key);

		work.lookups++;
		work.bad_rows += !row_is_right(&database->row[row], key);
		if (i % DATABASE_CHANGE_EACH == 0)
			change(database, row, &work);
		if (i % DATABASE_SCAN_EACH == 1)
			scan(database, row, &work);
	}
	*ret_work = work;
}
