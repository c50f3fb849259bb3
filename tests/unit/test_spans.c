/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "engine/spans.h"
#include "queue/base/bits.h"

#define BASE 0x7f0000000000u

static uint64_t at(uint64_t page)
{
	return BASE + page * PAGE_BYTES;
}

static struct spans one_run(void)
{
	struct spans spans = {0};

	cr_assert_eq(spans_add(&spans, BASE, 100, 1000), 0);
	return spans;
}

Test(spans, an_address_and_its_page_find_each_other)
{
	const struct spans spans = one_run();
	uint64_t address;
	uint64_t pages;
	uint64_t page;

	cr_assert(spans_page(&spans, at(7) + 123, &page));
	cr_assert(spans_address(&spans, 1007, &address, &pages));

	cr_assert_eq(page, 1007);
	cr_assert_eq(address, at(7));
	cr_assert_eq(pages, 93);
}

Test(spans, nothing_is_found_beside_a_run)
{
	const struct spans spans = one_run();
	uint64_t page = 42;
	uint64_t pages;

	cr_assert_not(spans_page(&spans, BASE - 1, &page));
	cr_assert_not(spans_page(&spans, at(100), &page));
	cr_assert_not(spans_address(&spans, 999, &page, &pages));
	cr_assert_not(spans_address(&spans, 1100, &page, &pages));
	cr_assert_eq(page, 42);
}

Test(spans, an_unmap_in_the_middle_leaves_both_ends)
{
	struct spans spans = one_run();
	uint64_t address;
	uint64_t pages;
	uint64_t page;

	cr_assert_eq(spans_remove(&spans, at(40), at(60)), 0);

	cr_assert_eq(spans.count, 2);
	cr_assert_not(spans_page(&spans, at(40), &page));
	cr_assert_not(spans_page(&spans, at(59), &page));
	cr_assert(spans_page(&spans, at(60), &page));
	cr_assert_eq(page, 1060);
	cr_assert(spans_address(&spans, 1000, &address, &pages));
	cr_assert_eq(pages, 40);
}

Test(spans, an_unmap_may_cover_more_than_there_is)
{
	struct spans spans = one_run();

	cr_assert_eq(spans_add(&spans, at(200), 10, 2000), 0);
	cr_assert_eq(spans_remove(&spans, 0, UINT64_MAX), 0);

	cr_assert_eq(spans.count, 0);
}

Test(spans, moved_pages_are_found_at_their_new_address_only)
{
	struct spans spans = one_run();
	uint64_t pages;
	uint64_t page;
	uint64_t address;

	cr_assert_eq(spans_move(&spans, at(10), at(20), at(500)), 0);

	cr_assert_not(spans_page(&spans, at(10), &page));
	cr_assert(spans_page(&spans, at(503), &page));
	cr_assert_eq(page, 1013);
	cr_assert(spans_address(&spans, 1019, &address, &pages));
	cr_assert_eq(address, at(509));
	cr_assert_eq(pages, 1);
}

Test(spans, a_move_of_several_runs_keeps_their_distances)
{
	struct spans spans = one_run();
	uint64_t page;

	cr_assert_eq(spans_remove(&spans, at(40), at(60)), 0);
	cr_assert_eq(spans_move(&spans, at(0), at(100), at(1000)), 0);

	cr_assert_eq(spans.count, 2);
	cr_assert(spans_page(&spans, at(1039), &page));
	cr_assert_eq(page, 1039);
	cr_assert_not(spans_page(&spans, at(1040), &page));
	cr_assert(spans_page(&spans, at(1060), &page));
	cr_assert_eq(page, 1060);
}

Test(spans, a_full_table_says_so)
{
	struct spans spans = {0};
	uint64_t page;

	for (uint64_t i = 0; i < SPANS_MAX; i++)
		cr_assert_eq(spans_add(&spans, at(10 * i), 5, 10 * i), 0);

	cr_assert_eq(spans_add(&spans, at(10 * SPANS_MAX), 5, 0), -ENOSPC);
	cr_assert_eq(spans_remove(&spans, at(2), at(3)), -ENOSPC);

	/* The split found no room: what lies behind the cut is gone, the rest stays. */
	cr_assert(spans_page(&spans, at(1), &page));
	cr_assert_not(spans_page(&spans, at(4), &page));
	cr_assert(spans_page(&spans, at(10), &page));
}

#define MODEL_PAGES 256u

/* Random unmaps and moves within a window against a plain array. */
Test(spans, agree_with_an_array_through_random_changes)
{
	uint64_t random = 1;

	for (uint32_t round = 0; round < 2000; round++) {
		struct spans spans = {0};
		uint64_t model[MODEL_PAGES]; /* page + 1 at each address, 0: none */

		memset(model, 0, sizeof(model));
		for (uint64_t i = 0; i < MODEL_PAGES / 2; i++)
			model[i] = i + 1;
		cr_assert_eq(spans_add(&spans, BASE, MODEL_PAGES / 2, 0), 0);
		for (uint32_t step = 0; step < 20; step++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			const uint64_t from = (random >> 33) % (MODEL_PAGES / 2);
			const uint64_t count = 1 + (random >> 43) % (MODEL_PAGES / 2 - from);
			const bool moves = (random >> 60) & 1;
			uint64_t moved[MODEL_PAGES];

			memcpy(moved, model, sizeof(moved));
			memset(model + from, 0, count * sizeof(*model));
			/* mremap replaces what was at its target. */
			if (moves) {
				cr_assert_eq(spans_remove(&spans, at(MODEL_PAGES / 2),
						     at(MODEL_PAGES / 2 + count)),
					0);
				cr_assert_eq(spans_move(&spans, at(from), at(from + count),
						     at(MODEL_PAGES / 2)),
					0);
				memcpy(model + MODEL_PAGES / 2, moved + from,
					count * sizeof(*model));
			} else {
				cr_assert_eq(spans_remove(&spans, at(from), at(from + count)), 0);
			}
		}
		for (uint64_t i = 0; i < MODEL_PAGES; i++) {
			uint64_t page;
			const bool is_there = spans_page(&spans, at(i), &page);

			cr_assert_eq(is_there, model[i] != 0);
			cr_assert(!is_there || page + 1 == model[i]);
		}
	}
}
