/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/page_table.h"

#include <stdlib.h>
#include <string.h>

#include "engine/stats.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

/* Which gauge counts a word; GAUGE_COUNT: none, it is resident. */
static enum gauge gauge_of(page_word word)
{
	switch (page_state_of(word)) {
	case PAGE_STAGED:
	case PAGE_WRITING: return GAUGE_STAGED;
	case PAGE_PUNCHING: return page_has_slot(word) ? GAUGE_SWAPPED : GAUGE_ZERO;
	case PAGE_SWAPPED:
	case PAGE_READING:
	case PAGE_POISONED: return GAUGE_SWAPPED;
	case PAGE_EMPTY: return GAUGE_ZERO;
	case PAGE_RESIDENT:
	case PAGE_STATES: break;
	}
	return GAUGE_COUNT;
}

static bool is_staged(page_word word)
{
	return gauge_of(word) == GAUGE_STAGED;
}

static bool is_out(page_word word)
{
	const enum page_state state = page_state_of(word);

	return state >= PAGE_PUNCHING && state <= PAGE_POISONED;
}

/* One writer, so a plain add of two relaxed accesses is enough. */
static void count_add(_Atomic uint16_t *count, int amount)
{
	const int now = (int)atomic_load_explicit(count, memory_order_relaxed) + amount;

	ASSERT(now >= 0);
	ASSERT(now <= (int)CHUNK_PAGES);
	atomic_store_explicit(count, (uint16_t)now, memory_order_relaxed);
}

static void summary_follow(struct chunk_summary *chunk, page_word from, page_word to)
{
	const int staged = is_staged(to) - is_staged(from);
	const int out = is_out(to) - is_out(from);
	const int slots = page_has_slot(to) - page_has_slot(from);

	if (staged != 0)
		count_add(&chunk->staged, staged);
	if (out != 0)
		count_add(&chunk->out, out);
	if (slots != 0)
		count_add(&chunk->slots, slots);
}

void page_move(struct page_table *table, struct stats_block *stats, uint64_t page, page_word to)
{
	ASSERT(page < table->page_count);
	const page_word from = page_load(table, page);
	const enum gauge gauge_from = gauge_of(from);
	const enum gauge gauge_to = gauge_of(to);

	ASSERT(page_edge_is_allowed(page_state_of(from), page_state_of(to)));
	ASSERT(page_word_is_valid(to));
	ASSERT(page_link_of(to) == 0);
	if (gauge_from != gauge_to) {
		if (gauge_from != GAUGE_COUNT)
			stats_gauge_add(stats, gauge_from, -1);
		if (gauge_to != GAUGE_COUNT)
			stats_gauge_add(stats, gauge_to, 1);
	}
	summary_follow(page_chunk(table, page), from, to);
	/* pairs with a successor's or a control thread's acquire of the word */
	atomic_store_explicit(&table->words[page], to | (from & PAGE_LINK), memory_order_release);
}

void page_put(struct page_table *table, uint64_t page, page_word to)
{
	ASSERT(page < table->page_count);
	const page_word from = page_load(table, page);

	ASSERT(page_edge_is_allowed(page_state_of(from), page_state_of(to)));
	ASSERT(page_word_is_valid(to));
	ASSERT(page_link_of(to) == 0);
	atomic_store_explicit(&table->words[page], to | (from & PAGE_LINK), memory_order_release);
}

void page_set_link(struct page_table *table, uint64_t page, int32_t link)
{
	ASSERT(page < table->page_count);
	ASSERT(link >= -PAGE_LINK_MAX && link <= PAGE_LINK_MAX);
	/* a release, as the word goes on promising what page_move() promised */
	atomic_store_explicit(&table->words[page], page_with_link(page_load(table, page), link),
		memory_order_release);
}

static int open_or_adopt(
	const char *name, const int *fd, uint64_t size_bytes, struct shared *ret_shared)
{
	return fd ? shared_adopt(*fd, size_bytes, ret_shared)
		  : shared_open(name, size_bytes, ret_shared);
}

/* @fds NULL: new tables. */
static int open_tables(uint64_t page_count, const int *fds, struct page_table *ret_table)
{
	struct page_table table = {.page_count = page_count};
	int error;

	ASSERT(page_count > 0);
	ASSERT(page_count % CHUNK_PAGES == 0);
	error = open_or_adopt("vmswap-pages", fds ? &fds[0] : NULL, page_count * sizeof(page_word),
		&table.words_memory);
	if (!error)
		error = open_or_adopt("vmswap-digests", fds ? &fds[1] : NULL,
			page_count * sizeof(uint64_t), &table.digests_memory);
	if (!error)
		error = open_or_adopt("vmswap-chunks", fds ? &fds[2] : NULL,
			page_count / CHUNK_PAGES * sizeof(struct chunk_summary),
			&table.chunks_memory);
	if (error) {
		page_table_close(&table);
		return error;
	}
	table.words = table.words_memory.memory;
	table.digests = table.digests_memory.memory;
	table.chunks = table.chunks_memory.memory;
	*ret_table = table;
	return 0;
}

int page_table_open(uint64_t page_count, struct page_table *ret_table)
{
	return open_tables(page_count, NULL, ret_table);
}

/* A predecessor may have died between a word and its summary: they are counted anew. */
static int forget_summaries(const struct shared *chunks)
{
	uint64_t start = 0;
	uint64_t end = 0;
	int error = 0;

	while (!error && end < chunks->size_bytes) {
		error = shared_next_data(chunks, end, &start, &end);
		if (!error)
			memset((uint8_t *)chunks->memory + start, 0, end - start);
	}
	return error == -ENXIO ? 0 : error;
}

int page_table_adopt(uint64_t page_count, const int fds[3], struct page_table *ret_table)
{
	struct page_table table;
	int error = open_tables(page_count, fds, &table);

	if (error)
		return error;
	error = forget_summaries(&table.chunks_memory);
	if (error) {
		page_table_close(&table);
		return error;
	}
	*ret_table = table;
	return 0;
}

uint32_t page_run(const struct page_table *table, uint64_t page, uint64_t end)
{
	const page_word word = page_load(table, page);
	const page_word step = page_has_slot(word) ? PAGE_SLOT_STEP : 0;
	uint32_t count = 1;

	ASSERT(page < end);
	ASSERT(end <= table->page_count);
	while (page + count < end && page_load(table, page + count) == word + count * step)
		count++;
	return count;
}

void page_table_recount(
	struct page_table *table, struct stats_block *stats, uint64_t first, uint32_t count)
{
	struct chunk_summary *chunk = page_chunk(table, first);
	const uint64_t end = first + count;

	ASSERT(first % CHUNK_PAGES == 0);
	ASSERT(count <= CHUNK_PAGES);
	for (uint64_t page = first; page < end;) {
		const page_word word = page_load(table, page);
		const int pages = (int)page_run(table, page, end);

		count_add(&chunk->staged, is_staged(word) * pages);
		count_add(&chunk->out, is_out(word) * pages);
		count_add(&chunk->slots, page_has_slot(word) * pages);
		if (gauge_of(word) != GAUGE_COUNT)
			stats_gauge_add(stats, gauge_of(word), pages);
		page += (uint64_t)pages;
	}
	stats_gauge_add(stats, GAUGE_ZERO, -(int)count);
}

void page_table_close(struct page_table *table)
{
	shared_close(&table->words_memory);
	shared_close(&table->digests_memory);
	shared_close(&table->chunks_memory);
	memset(table, 0, sizeof(*table));
}

static int compare_slots(const void *left, const void *right)
{
	const uint32_t a = *(const uint32_t *)left;
	const uint32_t b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

static void assert_slots_differ(uint32_t *slots, uint64_t count)
{
	qsort(slots, count, sizeof(*slots), compare_slots);
	for (uint64_t i = 1; i < count; i++)
		ASSERT(slots[i - 1] != slots[i]);
}

static void check_chunk(
	const struct page_table *table, uint64_t chunk, struct page_count *count, uint32_t *slots)
{
	const struct chunk_summary *summary = &table->chunks[chunk];
	uint32_t staged = 0;
	uint32_t out = 0;
	uint32_t with_slot = 0;

	for (uint64_t page = chunk * CHUNK_PAGES; page < (chunk + 1) * CHUNK_PAGES; page++) {
		const page_word word = page_load(table, page);

		ASSERT(page_word_is_valid(word));
		count->state[page_state_of(word)]++;
		staged += is_staged(word);
		out += is_out(word);
		if (page_has_slot(word))
			slots[count->slots + with_slot++] = page_slot_of(word);
	}
	ASSERT(atomic_load(&summary->staged) == staged);
	ASSERT(atomic_load(&summary->out) == out);
	ASSERT(atomic_load(&summary->slots) == with_slot);
	count->slots += with_slot;
}

void page_table_check(const struct page_table *table, struct page_count *ret_count)
{
	CLEANUP_FREE uint32_t *slots = malloc(table->page_count * sizeof(*slots));
	struct page_count count = {0};

	ASSERT(slots != NULL);
	for (uint64_t chunk = 0; chunk < table->page_count / CHUNK_PAGES; chunk++)
		check_chunk(table, chunk, &count, slots);
	assert_slots_differ(slots, count.slots);
	*ret_count = count;
}
