/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/page.h"
#include "queue/base/bits.h"

#define SLOT 7u

Test(page, a_word_gives_back_what_it_was_made_of)
{
	const page_word word = page_with_slot(PAGE_STAGED, 0xfffffdff, PAGE_CLEAN);

	cr_assert_eq(page_state_of(word), PAGE_STAGED);
	cr_assert_eq(page_slot_of(word), 0xfffffdff);
	cr_assert(page_has_slot(word));
	cr_assert(page_is_clean(word));
	cr_assert_not(page_is_stuck(word));
	cr_assert_not(page_has_slot(page_plain(PAGE_STAGED)));
}

Test(page, a_link_is_kept_apart_from_the_rest_of_the_word)
{
	const int32_t links[] = {0, 1, -1, 512, -4096, PAGE_LINK_MAX, -PAGE_LINK_MAX};
	const page_word plain = page_with_slot(PAGE_STAGED, 0xfffffdff, PAGE_CLEAN);

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		const page_word word = page_with_link(page_with_link(plain, -77), links[i]);

		cr_assert_eq(page_link_of(word), links[i]);
		cr_assert(page_word_is_valid(word));
		cr_assert_eq(page_with_link(word, 0), plain);
		cr_assert_eq(page_slot_of(word), 0xfffffdff);
		cr_assert_eq(page_state_of(word), PAGE_STAGED);
		cr_assert(page_is_clean(word));
	}
}

Test(page, a_link_that_is_farther_back_than_ahead_is_invalid)
{
	cr_assert_not(
		page_word_is_valid(page_with_link(page_plain(PAGE_RESIDENT), -PAGE_LINK_MAX - 1)));
}

Test(page, states_that_need_a_slot_are_invalid_without_one)
{
	const enum page_state needy[] = {PAGE_WRITING, PAGE_SWAPPED, PAGE_READING, PAGE_POISONED};
	const enum page_state free_ones[] = {PAGE_RESIDENT, PAGE_STAGED, PAGE_PUNCHING};

	for (size_t i = 0; i < ARRAY_SIZE(needy); i++) {
		cr_assert_not(page_word_is_valid(page_plain(needy[i])));
		cr_assert(page_word_is_valid(page_with_slot(needy[i], SLOT, 0)));
	}
	for (size_t i = 0; i < ARRAY_SIZE(free_ones); i++) {
		cr_assert(page_word_is_valid(page_plain(free_ones[i])));
		cr_assert(page_word_is_valid(page_with_slot(free_ones[i], SLOT, 0)));
	}
	cr_assert(page_word_is_valid(page_plain(PAGE_EMPTY)));
	cr_assert_not(page_word_is_valid(page_with_slot(PAGE_EMPTY, SLOT, 0)));
}

Test(page, only_a_staged_page_can_be_clean)
{
	for (uint32_t state = 0; state < PAGE_STATES; state++)
		cr_assert_eq(page_word_is_valid(
				     page_with_slot((enum page_state)state, SLOT, PAGE_CLEAN)),
			state == PAGE_STAGED);
}

Test(page, only_a_page_that_is_out_can_be_stuck)
{
	for (uint32_t state = 0; state < PAGE_STATES; state++)
		cr_assert_eq(page_word_is_valid(
				     page_with_slot((enum page_state)state, SLOT, PAGE_STUCK)),
			state == PAGE_SWAPPED || state == PAGE_READING);
}

Test(page, unknown_states_and_slots_without_a_flag_are_invalid)
{
	cr_assert_not(page_word_is_valid(PAGE_STATES));
	cr_assert_not(page_word_is_valid(page_plain(PAGE_RESIDENT) | (page_word)SLOT << 32));
}

/* The rules of design.md 3 that the edge table carries. */
Test(page, a_resident_page_cannot_be_written_punched_or_swapped)
{
	cr_assert_not(page_edge_is_allowed(PAGE_RESIDENT, PAGE_WRITING));
	cr_assert_not(page_edge_is_allowed(PAGE_RESIDENT, PAGE_PUNCHING));
	cr_assert_not(page_edge_is_allowed(PAGE_RESIDENT, PAGE_SWAPPED));
}

Test(page, a_page_being_written_cannot_be_punched)
{
	cr_assert_not(page_edge_is_allowed(PAGE_WRITING, PAGE_PUNCHING));
	cr_assert_not(page_edge_is_allowed(PAGE_WRITING, PAGE_SWAPPED));
	cr_assert(page_edge_is_allowed(PAGE_WRITING, PAGE_STAGED));
	cr_assert(page_edge_is_allowed(PAGE_WRITING, PAGE_RESIDENT));
}

Test(page, a_page_being_punched_cannot_be_mapped_or_filled)
{
	cr_assert_not(page_edge_is_allowed(PAGE_PUNCHING, PAGE_RESIDENT));
	cr_assert_not(page_edge_is_allowed(PAGE_PUNCHING, PAGE_READING));
	cr_assert_not(page_edge_is_allowed(PAGE_PUNCHING, PAGE_STAGED));
}

Test(page, a_swapped_page_comes_back_by_a_read_only)
{
	cr_assert_not(page_edge_is_allowed(PAGE_SWAPPED, PAGE_RESIDENT));
	cr_assert_not(page_edge_is_allowed(PAGE_SWAPPED, PAGE_STAGED));
	cr_assert(page_edge_is_allowed(PAGE_SWAPPED, PAGE_READING));
}

Test(page, a_poisoned_page_never_becomes_readable)
{
	for (uint32_t state = 0; state < PAGE_STATES; state++)
		if (state != PAGE_EMPTY)
			cr_assert_not(page_edge_is_allowed(PAGE_POISONED, (enum page_state)state));
}

Test(page, every_state_can_be_left_and_reached)
{
	for (uint32_t state = 0; state < PAGE_STATES; state++) {
		uint32_t in = 0;
		uint32_t out = 0;

		for (uint32_t other = 0; other < PAGE_STATES; other++) {
			if (other == state)
				continue;
			in += page_edge_is_allowed((enum page_state)other, (enum page_state)state);
			out += page_edge_is_allowed((enum page_state)state, (enum page_state)other);
		}
		cr_assert_gt(in, 0);
		cr_assert_gt(out, 0);
	}
}

Test(page, names_are_told_apart)
{
	for (uint32_t a = 0; a < PAGE_STATES; a++)
		for (uint32_t b = 0; b < a; b++)
			cr_assert_str_neq(page_state_name((enum page_state)a),
				page_state_name((enum page_state)b));
}
