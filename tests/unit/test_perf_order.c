/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "perf/client/order.h"

#define PAGES 1000u

static uint32_t order[10 * PAGES];
static uint32_t again[10 * PAGES];
static uint32_t seen[PAGES];

static void count_pages(uint64_t count)
{
	memset(seen, 0, sizeof(seen));
	for (uint64_t i = 0; i < count; i++) {
		cr_assert_lt(order[i], PAGES);
		seen[order[i]]++;
	}
}

static void expect_each_once(void)
{
	count_pages(PAGES);
	for (uint32_t page = 0; page < PAGES; page++)
		cr_assert_eq(seen[page], 1, "page %u: %u times", page, seen[page]);
}

Test(perf_order, a_uniform_order_is_a_permutation_that_its_seed_decides)
{
	cr_assert_eq(order_make(ORDER_UNIFORM, PAGES, PAGES, 1, order), 0);
	cr_assert_eq(order_make(ORDER_UNIFORM, PAGES, PAGES, 1, again), 0);

	expect_each_once();
	cr_assert_arr_eq(order, again, PAGES * sizeof(*order));
	cr_assert_eq(order_make(ORDER_UNIFORM, PAGES, PAGES, 2, again), 0);
	cr_assert_arr_neq(order, again, PAGES * sizeof(*order));
}

Test(perf_order, a_cut_uniform_order_has_no_page_twice)
{
	cr_assert_eq(order_make(ORDER_UNIFORM, PAGES, PAGES / 3, 1, order), 0);

	count_pages(PAGES / 3);
	for (uint32_t page = 0; page < PAGES; page++)
		cr_assert_leq(seen[page], 1);
}

Test(perf_order, a_strided_order_has_every_page_once_and_jumps)
{
	cr_assert_eq(order_make(ORDER_STRIDED, PAGES, PAGES, 1, order), 0);

	expect_each_once();
	cr_assert_eq(order[0], 0);
	cr_assert_eq(order[1], ORDER_STRIDE);
}

Test(perf_order, a_zipf_order_repeats_few_pages_often)
{
	uint32_t touched = 0;
	uint32_t most = 0;

	cr_assert_eq(order_make(ORDER_ZIPF, PAGES, 10 * PAGES, 1, order), 0);

	count_pages(10 * PAGES);
	for (uint32_t page = 0; page < PAGES; page++) {
		touched += seen[page] > 0;
		most = seen[page] > most ? seen[page] : most;
	}
	/* The first rank's share is 1 / zeta(1000; 0.99), about 13 %. */
	cr_assert_gt(most, 10 * PAGES / 10);
	cr_assert_lt(most, 10 * PAGES / 5);
	cr_assert_gt(touched, PAGES / 2);
}
