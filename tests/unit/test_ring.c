/* SPDX-License-Identifier: Apache-2.0 */
/* Includes the source: a preempted producer is a claim() without its sequence_release(). */
#include "queue/ring.c"

#include <criterion/criterion.h>
#include <signal.h>

#define CAPACITY 8u

static uintptr_t items[4 * CAPACITY];

static struct ring *ring_of(uint32_t capacity)
{
	struct ring *ring = NULL;

	cr_assert_eq(ring_new(capacity, &ring), 0);
	return ring;
}

static void push_from(struct ring *ring, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		cr_assert(ring_push_mpmc(ring, &items[first + i]), "push %u", first + i);
}

static void expect_from(struct ring *ring, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		cr_assert_eq(ring_pop_mpmc(ring), &items[first + i], "pop %u", first + i);
}

Test(ring, a_new_ring_is_empty)
{
	struct ring *ring = ring_of(CAPACITY);

	void *item = ring_pop_mpmc(ring);

	cr_assert_null(item);
	cr_assert_eq(ring_count(ring), 0);
	ring_free(ring);
}

Test(ring, freeing_null_is_allowed)
{
	ring_free(NULL);
}

Test(ring, all_of_the_capacity_can_be_used_and_no_more)
{
	struct ring *ring = ring_of(CAPACITY);

	push_from(ring, 0, CAPACITY);

	cr_assert_not(ring_push_mpmc(ring, &items[CAPACITY]));
	cr_assert_eq(ring_count(ring), CAPACITY);
	expect_from(ring, 0, CAPACITY);
	cr_assert_null(ring_pop_mpmc(ring));
	ring_free(ring);
}

Test(ring, a_refused_item_leaves_no_trace)
{
	struct ring *ring = ring_of(2);

	push_from(ring, 0, 2);
	cr_assert_not(ring_push_mpmc(ring, &items[7]));
	expect_from(ring, 0, 1);
	push_from(ring, 2, 1);

	expect_from(ring, 1, 2);
	cr_assert_null(ring_pop_mpmc(ring));
	ring_free(ring);
}

Test(ring, items_leave_in_the_order_they_came_over_many_laps_and_fills)
{
	for (uint32_t capacity = 2; capacity <= CAPACITY; capacity *= 2) {
		struct ring *ring = ring_of(capacity);

		for (uint32_t lap = 0; lap < 100; lap++) {
			uint32_t count = 1 + lap % capacity;

			push_from(ring, lap % CAPACITY, count);
			cr_assert_eq(ring_count(ring), count);
			expect_from(ring, lap % CAPACITY, count);
			cr_assert_null(ring_pop_mpmc(ring));
		}
		ring_free(ring);
	}
}

Test(ring, a_preempted_producer_delays_its_own_cell_and_no_other_producer)
{
	struct ring *ring = ring_of(CAPACITY);
	uint64_t claimed = 0;
	struct cell *cell = claim(ring, &ring->push_at, 0, &claimed);

	cr_assert(cell);
	push_from(ring, 1, CAPACITY - 1);

	cr_assert_null(ring_pop_mpmc(ring), "the unfilled cell must read as empty");
	cr_assert_eq(ring_count(ring), CAPACITY);
	cell->item = &items[0];
	sequence_release(cell, claimed + 1);
	expect_from(ring, 0, CAPACITY);
	ring_free(ring);
}

Test(ring, a_preempted_consumer_makes_the_ring_full_at_its_cell_only)
{
	struct ring *ring = ring_of(4);
	uint64_t claimed = 0;
	struct cell *cell;

	push_from(ring, 0, 4);
	cell = claim(ring, &ring->pop_at, 1, &claimed);
	cr_assert(cell);
	expect_from(ring, 1, 3);

	cr_assert_not(ring_push_mpmc(ring, &items[4]), "the cell is still being emptied");
	cr_assert_eq(cell->item, &items[0]);
	cell->item = NULL;
	sequence_release(cell, claimed + 4);
	push_from(ring, 4, 4);
	expect_from(ring, 4, 4);
	ring_free(ring);
}

Test(ring, null_cannot_be_stored, .signal = SIGABRT)
{
	struct ring *ring = ring_of(2);

	(void)ring_push_mpmc(ring, NULL);
}

Test(ring, a_capacity_that_is_no_power_of_two_is_refused, .signal = SIGABRT)
{
	struct ring *ring;

	(void)ring_new(6, &ring);
}

Test(ring, a_capacity_of_one_is_refused, .signal = SIGABRT)
{
	struct ring *ring;

	(void)ring_new(1, &ring);
}
