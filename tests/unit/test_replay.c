/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest of one shard that refills its memory in a given order, over a disk that brings what is
 * read ahead at once, or not before somebody waits for it.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/limits.h"
#include "engine/page_table.h"
#include "engine/replay.h"
#include "engine/stats.h"

#define CHUNKS 8u
#define PAGES  (CHUNKS * (uint32_t)CHUNK_PAGES)
/* Faults of a replay of all pages: until it is at full width, and one for each window then. */
#define FEW (20 + PAGES / REPLAY_PAGES_MAX)

/* Which replay brings a page that is READING. */
struct coming {
	uint32_t id, at;
};

static struct page_table table;
static struct stats_block stats;
static struct replays replays;
static struct coming coming[PAGES];
static bool is_brought[PAGES], is_touched[PAGES];
static uint32_t order[PAGES];
static bool is_slow;
static uint64_t random_state = 1;
/* Of the refill under way. */
static uint32_t faults, waits, brought, reads;

static uint32_t draw(uint32_t below)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 33) % below;
}

static enum page_state state_of(uint32_t page)
{
	return page_state_of(page_load(&table, page));
}

static void move(uint32_t page, enum page_state to)
{
	page_move(&table, &stats, page, page_with_slot(to, page, 0));
}

/* All pages leave; a new count begins. */
static void swap_out(void)
{
	for (uint32_t page = 0; page < PAGES; page++) {
		if (state_of(page) == PAGE_SWAPPED)
			continue;
		if (state_of(page) == PAGE_READING)
			move(page, PAGE_RESIDENT);
		move(page, PAGE_STAGED);
		move(page, PAGE_PUNCHING);
		move(page, PAGE_SWAPPED);
	}
	memset(is_brought, 0, sizeof(is_brought));
	memset(is_touched, 0, sizeof(is_touched));
	faults = waits = brought = reads = 0;
}

static void open_table(void)
{
	cr_assert_eq(page_table_open(PAGES, &table), 0);
	for (uint32_t page = 0; page < PAGES; page++)
		order[page] = page;
	swap_out();
}

static void close_table(void)
{
	page_table_close(&table);
}

TestSuite(replay, .init = open_table, .fini = close_table);

static void check_bounds(void)
{
	for (uint32_t i = 0; i < REPLAYS_MAX; i++) {
		const struct replay *replay = &replays.replay[i];
		const uint32_t ahead = replay->brought - replay->confirmed;

		cr_assert_leq(ahead, replay->confirmed);
		cr_assert_leq(ahead, REPLAY_PAGES_MAX);
	}
}

static void read_run(const struct replay_run *run)
{
	cr_assert_leq(run->count, FAULT_READ_PAGES);
	for (uint32_t i = 0; i < run->count; i++) {
		const uint32_t page = (uint32_t)run->page + i;

		cr_assert_eq(state_of(page), PAGE_SWAPPED);
		move(page, PAGE_READING);
		coming[page] = (struct coming){run->id, run->at + i};
		is_brought[page] = true;
	}
	replay_brought(&replays, &table, run);
	for (uint32_t i = 0; i < run->count && !is_slow; i++)
		move((uint32_t)run->page + i, PAGE_RESIDENT);
	brought += run->count;
	reads++;
}

static void read_ahead(void)
{
	struct replay_run run;

	while (replay_next(&replays, &table, &run))
		read_run(&run);
	check_bounds();
}

static void touch(uint32_t page)
{
	is_touched[page] = true;
	if (state_of(page) == PAGE_SWAPPED) {
		move(page, PAGE_READING);
		(void)replay_fault(&replays, &table, page, 1);
		move(page, PAGE_RESIDENT);
		faults++;
	} else if (state_of(page) == PAGE_READING) {
		(void)replay_seen(&replays, coming[page].id, coming[page].at, page);
		move(page, PAGE_RESIDENT);
		waits++;
	}
	read_ahead();
}

static void refill(uint32_t count)
{
	swap_out();
	for (uint32_t i = 0; i < count; i++)
		touch(order[i]);
}

/* Brought and not touched. */
static uint32_t wasted(void)
{
	uint32_t count = 0;

	for (uint32_t page = 0; page < PAGES; page++)
		count += is_brought[page] && !is_touched[page];
	return count;
}

static void swap_places(uint32_t a, uint32_t b)
{
	const uint32_t page = order[a];

	order[a] = order[b];
	order[b] = page;
}

static void shuffle(void)
{
	for (uint32_t i = PAGES - 1; i > 0; i--)
		swap_places(i, draw(i + 1));
}

Test(replay, a_first_refill_brings_nothing_ahead)
{
	shuffle();

	refill(PAGES);

	cr_assert_eq(faults, PAGES);
	cr_assert_eq(brought, 0);
}

Test(replay, a_random_order_that_repeats_needs_few_faults)
{
	shuffle();
	refill(PAGES);

	for (uint32_t i = 0; i < 4; i++) {
		refill(PAGES);

		cr_assert_leq(faults, FEW);
		cr_assert_eq(faults + brought, PAGES);
		cr_assert_eq(wasted(), 0);
	}
}

Test(replay, nothing_is_brought_before_two_faults_came_as_foretold)
{
	shuffle();
	refill(PAGES);

	swap_out();
	touch(order[0]);
	touch(order[1]);
	cr_assert_eq(brought, 0);
	touch(order[2]);

	cr_assert_eq(brought, 2);
	cr_assert(is_brought[order[3]]);
	cr_assert(is_brought[order[4]]);
}

Test(replay, a_new_random_order_brings_next_to_nothing)
{
	for (uint32_t i = 0; i < 20; i++) {
		shuffle();
		refill(PAGES);

		cr_assert_leq(brought, PAGES / 1000);
	}
}

Test(replay, faults_that_wait_for_their_page_keep_it_going)
{
	is_slow = true;
	shuffle();
	refill(PAGES);

	refill(PAGES);

	cr_assert_leq(faults, 5);
	cr_assert_eq(waits, PAGES - faults);
	cr_assert_eq(wasted(), 0);
}

Test(replay, neighbours_are_brought_by_one_read)
{
	refill(PAGES);

	refill(PAGES);

	cr_assert_gt(brought, PAGES - 32);
	cr_assert_lt(reads, PAGES / FAULT_READ_PAGES * 5 / 4);
}

Test(replay, the_neighbours_of_a_fault_are_on_its_chain)
{
	for (uint32_t page = 0; page < PAGES; page += 4) {
		for (uint32_t i = 0; i < 4; i++)
			move(page + i, PAGE_READING);
		(void)replay_fault(&replays, &table, page, 4);
		for (uint32_t i = 0; i < 4; i++)
			move(page + i, PAGE_RESIDENT);
	}

	for (uint32_t page = 0; page < PAGES - 1; page++)
		cr_assert_eq(page_link_of(page_load(&table, page)), 1);
}

Test(replay, a_stray_fault_is_not_woven_into_a_replay)
{
	const uint32_t count = PAGES / 2;

	shuffle();
	refill(count);

	swap_out();
	for (uint32_t i = 0; i < count; i++) {
		touch(order[i]);
		if (i > 100 && i % 50 == 0)
			touch(order[count + i / 50]);
	}
	refill(count);

	cr_assert_leq(faults, FEW);
	/* What comes when all of the chain is brought goes on from its end. */
	cr_assert_leq(wasted(), 1 + REPLAY_PAGES_MAX / 50);
}

Test(replay, a_way_that_is_not_gone_any_more_is_unlearned)
{
	const uint32_t half = PAGES / 2;

	shuffle();
	refill(PAGES);
	for (uint32_t i = half; i < PAGES - 1; i++)
		swap_places(i, i + draw(PAGES - i));

	for (uint32_t round = 0; round < 4; round++) {
		refill(PAGES - half / 2);
		cr_assert_leq(wasted(), REPLAY_PAGES_MAX);
	}

	cr_assert_leq(wasted(), REPLAY_PAGES_MAX / 50);
}

Test(replay, a_skipped_page_ends_nothing)
{
	const uint32_t count = PAGES / 2;

	shuffle();
	refill(count);
	refill(count);
	memmove(order + 100, order + 101, (count - 101) * sizeof(*order));

	refill(count - 1);

	cr_assert_leq(faults, FEW);
	/* And the first of the chain again, which is where it leads to. */
	cr_assert_leq(wasted(), 2);
}

/* Each takes its own way at about the same speed; every second time over a slow disk. */
Test(replay, vcpus_that_overtake_each_other_are_followed)
{
	shuffle();
	refill(PAGES);

	for (uint32_t round = 0; round < 6; round++) {
		is_slow = round % 2 == 1;
		for (uint32_t i = 0; i + 4 < PAGES; i++)
			swap_places(i, i + draw(4));
		refill(PAGES);

		cr_assert_leq(faults, PAGES / 10);
		cr_assert_eq(wasted(), 0);
	}
}

Test(replay, pages_in_ram_are_passed_over)
{
	shuffle();
	refill(PAGES);

	swap_out();
	for (uint32_t page = 0; page < PAGES; page++) {
		if (page % 8 != 0)
			continue;
		move(page, PAGE_READING);
		move(page, PAGE_RESIDENT);
	}
	for (uint32_t i = 0; i < PAGES; i++)
		touch(order[i]);

	cr_assert_leq(faults, FEW);
}

Test(replay, links_that_lead_in_circles_end)
{
	shuffle();
	refill(PAGES);
	refill(PAGES);
	for (uint32_t page = 0; page < PAGES; page++)
		page_set_link(&table, page, page % 2 == 0 ? 1 : -1);
	page_set_link(&table, 1, 2);
	page_set_link(&table, 3, -3);

	refill(PAGES);

	cr_assert_eq(faults + brought, PAGES);
}

Test(replay, a_page_that_faults_twice_in_a_row_has_no_link_to_itself)
{
	touch(5);
	move(5, PAGE_STAGED);
	move(5, PAGE_PUNCHING);
	move(5, PAGE_SWAPPED);

	touch(5);

	cr_assert_eq(page_link_of(page_load(&table, 5)), 0);
}

Test(replay, a_run_that_cannot_be_read_ends_its_chain)
{
	struct replay_run run;

	shuffle();
	refill(PAGES);
	swap_out();
	for (uint32_t i = 0; i < 3; i++) {
		move(order[i], PAGE_READING);
		(void)replay_fault(&replays, &table, order[i], 1);
	}

	cr_assert(replay_next(&replays, &table, &run));
	cr_assert_eq(run.page, order[3]);
	replay_cut(&replays, &run);

	cr_assert_not(replay_next(&replays, &table, &run));
}

Test(replay, a_page_of_a_replay_given_up_says_nothing)
{
	cr_assert_not(replay_seen(&replays, 77, 1, 5));
}

Test(replay, the_clocks_may_wrap)
{
	shuffle();
	refill(PAGES);
	replays.clock = UINT32_MAX - 1;

	refill(PAGES);
	refill(PAGES);

	cr_assert_leq(faults, FEW);
}

Test(replay, a_link_out_of_reach_is_none)
{
	const uint64_t far = (uint64_t)PAGE_LINK_MAX + 1;
	struct page_table large;

	cr_assert_eq(page_table_open(2 * (far + CHUNK_PAGES), &large), 0);

	(void)replay_fault(&replays, &large, 7, 1);
	(void)replay_fault(&replays, &large, far + 6, 1);
	(void)replay_fault(&replays, &large, 6, 1);
	(void)replay_fault(&replays, &large, 5 + far, 1);

	cr_assert_eq(page_link_of(page_load(&large, 7)), PAGE_LINK_MAX);
	cr_assert_eq(page_link_of(page_load(&large, far + 6)), 0);
	cr_assert_eq(page_link_of(page_load(&large, 6)), PAGE_LINK_MAX);
	page_table_close(&large);
}
