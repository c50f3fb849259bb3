/* SPDX-License-Identifier: Apache-2.0 */
/* Refills in an order that repeats, through the whole engine. */
#include <criterion/criterion.h>

#include "tests/sim/sim.h"

#define PAGES 400u

static struct sim sim;
static uint32_t order[PAGES];

/* A guest that does nothing but what the test says, in a random order. */
static void open_quiet(uint32_t shards)
{
	struct sim_config config = sim_defaults(1);

	config.shards = shards;
	config.threads = 0;
	config.pages[0] = CHUNK_PAGES * shards;
	sim_open(&config, &sim);
	for (uint32_t i = 0; i < PAGES; i++) {
		const uint32_t other = (uint32_t)fake_random(i + 1);

		order[i] = order[other];
		order[other] = i * shards;
	}
	sim_write(&sim, PAGES * shards);
	(void)sim_out(&sim);
}

/* What one refill costs the guest, reads of its own and waits for those under way. */
static uint64_t refill(uint32_t process)
{
	const uint64_t before = sim_stat(&sim, STAT_faults_file);

	for (uint32_t i = 0; i < PAGES; i++)
		cr_assert(sim_touch(&sim, process, order[i], false));
	return sim_stat(&sim, STAT_faults_file) - before;
}

static uint64_t refill_again(uint32_t process)
{
	(void)sim_all(&sim, CHUNK_RELEASE);
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	return refill(process);
}

Test(sim_replay, the_second_refill_of_an_order_needs_few_faults)
{
	open_quiet(1);

	cr_assert_gt(refill(0), PAGES * 9 / 10);
	cr_assert_eq(sim_stat(&sim, STAT_replay_pages), 0);
	(void)sim_out(&sim);

	cr_assert_lt(refill(0), PAGES / 20);

	cr_assert_gt(sim_stat(&sim, STAT_replay_pages), PAGES * 9 / 10);
	sim_close(&sim);
}

Test(sim_replay, each_shard_follows_the_order_of_its_own_pages)
{
	open_quiet(4);
	(void)refill(0);
	(void)sim_out(&sim);

	cr_assert_lt(refill(0), PAGES / 5);

	sim_close(&sim);
}

Test(sim_replay, the_order_outlives_slots_and_writes)
{
	open_quiet(1);
	(void)refill(0);

	cr_assert_lt(refill_again(0), PAGES / 20);

	sim_close(&sim);
}

Test(sim_replay, another_process_follows_the_order_as_well)
{
	open_quiet(1);
	(void)refill(0);
	cr_assert_eq(sim_join(&sim, sim_process(&sim)), 0);
	(void)sim_out(&sim);

	cr_assert_lt(refill(1), PAGES / 20);

	sim_close(&sim);
}

Test(sim_replay, a_process_may_die_while_its_order_is_replayed)
{
	open_quiet(1);
	cr_assert_eq(sim_join(&sim, sim_process(&sim)), 0);
	(void)refill(0);
	(void)sim_out(&sim);
	for (uint32_t i = 0; i < 8; i++)
		cr_assert(sim_touch(&sim, 1, order[i], false));

	(void)fake_touch(sim.process[1], sim_address(0) + order[8] * PAGE_BYTES, false);
	sim_turn(&sim);
	fake_kill(sim.process[1]);
	sim_turn(&sim);
	sim_leave(&sim, 1);

	sim_read_all(&sim);
	sim_close(&sim);
}

Test(sim_replay, pages_that_are_read_ahead_do_not_hold_up_a_swap_in)
{
	open_quiet(1);
	(void)refill(0);
	(void)sim_out(&sim);
	for (uint32_t i = 0; i < 20; i++)
		cr_assert(sim_touch(&sim, 0, order[i], false));

	sim_all_in(&sim);

	cr_assert_eq(sim_pages(&sim).state[PAGE_SWAPPED], 0);
	sim_close(&sim);
}

Test(sim_replay, a_rotten_page_that_is_read_ahead_costs_itself_alone)
{
	uint32_t lost = 0;

	open_quiet(1);
	(void)refill(0);
	(void)sim_out(&sim);
	fake_rot(page_slot_of(page_load(&sim.vm->table, order[200])));

	for (uint32_t i = 0; i < PAGES; i++)
		lost += !sim_touch(&sim, 0, order[i], false);

	cr_assert_eq(lost, 1);
	cr_assert_eq(sim_stat(&sim, STAT_poisoned_pages), 1);
	sim_close(&sim);
}

/* Guests that run all the while and meet what is read ahead, on its way and with failures. */
Test(sim_replay, guests_see_what_they_wrote_while_orders_are_replayed)
{
	uint64_t hits = 0;

	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct sim_config config = sim_defaults(seed);

		config.shards = 1 + (uint32_t)(seed % 2);
		config.threads = 3;
		config.world.failure_in[FAKE_READ] = seed % 3 == 0 ? 200 : 0;
		config.world.failure_in[FAKE_RESOLVE] = seed % 4 == 0 ? 100 : 0;
		sim_open(&config, &sim);
		for (uint32_t round = 0; round < 8; round++) {
			sim_settle_guests(&sim);
			fake_pause(true);
			(void)sim_out(&sim);
			fake_pause(false);
			sim_read_all(&sim);
		}
		cr_assert_gt(sim_stat(&sim, STAT_replay_pages), 0);
		hits += sim_stat(&sim, STAT_replay_hits);
		sim_close(&sim);
	}
	cr_assert_gt(hits, 100);
}
