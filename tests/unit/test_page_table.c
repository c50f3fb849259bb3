/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "engine/page_table.h"
#include "engine/stats.h"

#define CHUNKS	   2u
#define PAGES	   ((uint64_t)CHUNKS * CHUNK_PAGES)
#define SLOTS	   4096u
#define MOVES	   1500000u
#define CHECK_EACH 512u

static struct page_table table;
static struct stats_block *stats;

static void open_table(void)
{
	stats = aligned_alloc(CACHE_LINE, sizeof(*stats));
	cr_assert_not_null(stats);
	memset(stats, 0, sizeof(*stats));
	cr_assert_eq(page_table_open(PAGES, &table), 0);
}

static void close_table(void)
{
	page_table_close(&table);
	free(stats);
}

TestSuite(page_table, .init = open_table, .fini = close_table);

/* Walks from EMPTY to @to along allowed edges. */
static void lead(uint64_t page, enum page_state to, uint32_t slot)
{
	const enum page_state way[] = {
		PAGE_STAGED, PAGE_WRITING, PAGE_STAGED, PAGE_PUNCHING, PAGE_SWAPPED, PAGE_READING};
	enum page_state at = PAGE_EMPTY;

	for (size_t i = 0; i < ARRAY_SIZE(way) && at != to; i++) {
		page_move(&table, stats, page, page_with_slot(way[i], slot, 0));
		at = way[i];
	}
	cr_assert_eq(at, to);
}

Test(page_table, a_new_table_is_empty)
{
	struct page_count count;

	page_table_check(&table, &count);

	cr_assert_eq(count.state[PAGE_EMPTY], PAGES);
	cr_assert_eq(count.slots, 0);
}

Test(page_table, the_summary_of_a_chunk_follows_its_pages)
{
	const struct chunk_summary *first = page_chunk(&table, 0);
	const struct chunk_summary *second = page_chunk(&table, CHUNK_PAGES);

	lead(3, PAGE_SWAPPED, 11);
	lead(CHUNK_PAGES + 5, PAGE_STAGED, 12);

	cr_assert_eq(atomic_load(&first->out), 1);
	cr_assert_eq(atomic_load(&first->staged), 0);
	cr_assert_eq(atomic_load(&second->staged), 1);
	cr_assert_eq(atomic_load(&second->slots), 1);
	cr_assert_eq(atomic_load(&stats->gauge[GAUGE_SWAPPED]), 1);
	cr_assert_eq(atomic_load(&stats->gauge[GAUGE_STAGED]), 1);
	cr_assert_eq(atomic_load(&stats->gauge[GAUGE_ZERO]), -2);
}

Test(page_table, an_edge_that_is_not_allowed_aborts, .signal = SIGABRT)
{
	page_move(&table, stats, 0, page_plain(PAGE_RESIDENT));

	page_move(&table, stats, 0, page_plain(PAGE_PUNCHING));
}

Test(page_table, a_page_beyond_the_end_aborts, .signal = SIGABRT)
{
	page_move(&table, stats, PAGES, page_plain(PAGE_RESIDENT));
}

Test(page_table, a_slot_of_two_pages_is_found_by_the_check, .signal = SIGABRT)
{
	struct page_count count;

	lead(0, PAGE_SWAPPED, 9);
	lead(CHUNK_PAGES, PAGE_STAGED, 9);

	page_table_check(&table, &count);
}

Test(page_table, a_word_changed_behind_its_back_is_found_by_the_check, .signal = SIGABRT)
{
	struct page_count count;

	atomic_store(&table.words[0], page_plain(PAGE_STAGED));

	page_table_check(&table, &count);
}

/* The word of @state that needs the least. */
static page_word word_in(enum page_state state, uint32_t slot)
{
	return page_word_is_valid(page_plain(state)) ? page_plain(state)
						     : page_with_slot(state, slot, 0);
}

Test(page_table, a_page_keeps_its_link_over_every_edge)
{
	uint64_t page = 0;

	for (uint32_t from = 0; from < PAGE_STATES; from++) {
		for (uint32_t to = 0; to < PAGE_STATES; to++, page++) {
			const page_word word = word_in((enum page_state)to, (uint32_t)page);

			if (!page_edge_is_allowed((enum page_state)from, (enum page_state)to))
				continue;
			/* behind the table's back: most states are far from the first */
			atomic_store(
				&table.words[page], word_in((enum page_state)from, (uint32_t)page));
			*page_chunk(&table, page) =
				(struct chunk_summary){.staged = 9, .out = 9, .slots = 9};
			page_set_link(&table, page, -(int32_t)page - 1);

			page_move(&table, stats, page, word);

			cr_assert_eq(
				page_load(&table, page), page_with_link(word, -(int32_t)page - 1));
		}
	}
}

Test(page_table, a_link_leaves_counts_and_states_alone)
{
	struct page_count count;

	lead(3, PAGE_SWAPPED, 11);
	page_set_link(&table, 3, PAGE_LINK_MAX);
	page_set_link(&table, 4, -PAGE_LINK_MAX);

	page_table_check(&table, &count);

	cr_assert_eq(count.state[PAGE_SWAPPED], 1);
	cr_assert_eq(count.slots, 1);
	cr_assert_eq(page_link_of(page_load(&table, 3)), PAGE_LINK_MAX);
	cr_assert_eq(page_link_of(page_load(&table, 4)), -PAGE_LINK_MAX);
}

Test(page_table, a_link_out_of_reach_aborts, .signal = SIGABRT)
{
	page_set_link(&table, 3, PAGE_LINK_MAX + 1);
}

Test(page_table, digests_are_kept_by_page)
{
	page_set_digest(&table, 1, 0x1111);
	page_set_digest(&table, 2, 0x2222);

	cr_assert_eq(page_digest(&table, 1), 0x1111);
	cr_assert_eq(page_digest(&table, 2), 0x2222);
}

/* The model: a word a page and who has which slot. */
struct model {
	page_word word[PAGES];
	bool has_slot[SLOTS];
	uint64_t random;
};

static uint64_t draw(struct model *model, uint64_t below)
{
	model->random = model->random * 6364136223846793005u + 1442695040888963407u;
	return (model->random >> 33) % below;
}

static uint32_t free_slot(struct model *model)
{
	uint32_t slot = (uint32_t)draw(model, SLOTS);

	while (model->has_slot[slot])
		slot = (slot + 1) % SLOTS;
	return slot;
}

/* Any word for @page: with its own slot, a free one, or none. */
static page_word draw_word(struct model *model, uint64_t page)
{
	const enum page_state state = (enum page_state)draw(model, PAGE_STATES);
	const page_word now = model->word[page];
	const uint32_t flags[] = {0, 0, PAGE_CLEAN, PAGE_STUCK};

	if (draw(model, 3) == 0)
		return page_plain(state);
	if (page_has_slot(now) && draw(model, 4) != 0)
		return page_with_slot(state, page_slot_of(now), flags[draw(model, 4)]);
	return page_with_slot(state, free_slot(model), flags[draw(model, 4)]);
}

static void model_move(struct model *model, uint64_t page, page_word to)
{
	if (page_has_slot(model->word[page]))
		model->has_slot[page_slot_of(model->word[page])] = false;
	if (page_has_slot(to))
		model->has_slot[page_slot_of(to)] = true;
	model->word[page] = page_with_link(to, page_link_of(model->word[page]));
}

static void compare(const struct model *model)
{
	struct page_count expected = {0};
	struct page_count count;

	page_table_check(&table, &count);
	for (uint64_t page = 0; page < PAGES; page++) {
		cr_assert_eq(page_load(&table, page), model->word[page]);
		expected.state[page_state_of(model->word[page])]++;
		expected.slots += page_has_slot(model->word[page]);
	}
	cr_assert_arr_eq(&count, &expected, sizeof(count));
}

Test(page_table, a_run_ends_where_words_or_slots_do_not_follow)
{
	const page_word far = page_with_slot(PAGE_SWAPPED, UINT32_MAX, 0);

	page_put(&table, 3, page_plain(PAGE_RESIDENT));
	for (uint32_t page = 8; page < 12; page++)
		atomic_store(&table.words[page], page_with_slot(PAGE_SWAPPED, 100 + page, 0));
	page_set_link(&table, 11, 1);
	atomic_store(&table.words[12], page_with_slot(PAGE_SWAPPED, 112, PAGE_STUCK));
	atomic_store(&table.words[13], page_with_slot(PAGE_SWAPPED, 114, PAGE_STUCK));
	atomic_store(&table.words[20], far);
	atomic_store(&table.words[21], far);

	cr_assert_eq(page_run(&table, 0, PAGES), 3);
	cr_assert_eq(page_run(&table, 0, 2), 2);
	cr_assert_eq(page_run(&table, 3, PAGES), 1);
	cr_assert_eq(page_run(&table, 4, PAGES), 4);
	cr_assert_eq(page_run(&table, 8, PAGES), 3);
	cr_assert_eq(page_run(&table, 11, PAGES), 1);
	cr_assert_eq(page_run(&table, 12, PAGES), 1);
	cr_assert_eq(page_run(&table, 20, PAGES), 1);
}

/* Summaries and gauges of a predecessor are not kept: those counted anew are what they were. */
static void recount(struct model *model)
{
	struct stats_block *before = stats;

	stats = aligned_alloc(CACHE_LINE, sizeof(*stats));
	cr_assert_not_null(stats);
	memset(stats, 0, sizeof(*stats));
	memset(table.chunks, 0, table.chunks_memory.size_bytes);
	for (uint32_t chunk = 0; chunk < CHUNKS; chunk++)
		page_table_recount(&table, stats, (uint64_t)chunk * CHUNK_PAGES, CHUNK_PAGES);
	compare(model);
	cr_assert_arr_eq(before->gauge, stats->gauge, sizeof(stats->gauge));
	free(before);
}

Test(page_table, agrees_with_a_model_through_random_moves)
{
	struct model *model = calloc(1, sizeof(*model));
	uint32_t moved = 0;

	cr_assert_not_null(model);
	for (uint32_t i = 0; i < MOVES; i++) {
		const uint64_t page = draw(model, PAGES);
		const page_word to = draw_word(model, page);
		const int32_t link = (int32_t)draw(model, 2 * PAGE_LINK_MAX) - PAGE_LINK_MAX;

		if (page_word_is_valid(to) &&
			page_edge_is_allowed(page_state_of(model->word[page]), page_state_of(to))) {
			page_move(&table, stats, page, to);
			model_move(model, page, to);
			moved++;
		} else if (i % 16 == 0) {
			page_set_link(&table, page, link);
			model->word[page] = page_with_link(model->word[page], link);
		}
		if (i % CHECK_EACH == 0)
			compare(model);
	}
	compare(model);
	recount(model);

	cr_assert_gt(moved, MOVES / 10);
	free(model);
}
