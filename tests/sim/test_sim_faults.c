/* SPDX-License-Identifier: Apache-2.0 */
/* The fault service, case by case: duplicates, overflow, several processes, events. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/sim/sim.h"

#define PAGES 64u

static struct sim sim;

static struct sim_config quiet(uint32_t processes)
{
	struct sim_config config = sim_defaults(2);

	config.threads = 0;
	config.processes = processes;
	config.pages[0] = CHUNK_PAGES;
	return config;
}

static void open_out(uint32_t processes)
{
	const struct sim_config config = quiet(processes);

	sim_open(&config, &sim);
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	cr_assert_eq(sim_pages(&sim).state[PAGE_SWAPPED], PAGES);
}

static uint64_t address_of(uint64_t page)
{
	return sim_address(0) + page * PAGE_BYTES;
}

Test(sim_faults, two_threads_on_one_swapped_page_cost_one_read)
{
	open_out(2);

	for (uint32_t i = 0; i < 8; i++)
		cr_assert_not(fake_touch(i % 2, address_of(9), false));
	sim_settle_guests(&sim);

	cr_assert_eq(sim_stat(&sim, STAT_read_bytes), PAGE_BYTES);
	cr_assert_eq(sim_stat(&sim, STAT_faults_file), 1);
	sim_close(&sim);
}

Test(sim_faults, more_faults_than_can_be_parked_are_all_served)
{
	open_out(1);
	/* Every read fails to get its page in: all of them wait. */
	fake_config()->failure_in[FAKE_RESOLVE] = 1;
	fake_config()->failure_way[FAKE_RESOLVE] = 1;

	for (uint64_t page = PAGES; page < PAGES + 80; page++)
		cr_assert_not(fake_touch(0, address_of(page), true));
	for (uint32_t i = 0; i < 20; i++) {
		sim_idle(&sim, 10);
		fake_wake_all();
		fake_run(400);
	}
	cr_assert_eq(sim.engine->shard[0].parked.count, PARKED_MAX);
	/* These find no room. */
	for (uint64_t page = PAGES + 80; page < PAGES + 90; page++)
		cr_assert_not(fake_touch(0, address_of(page), true));
	sim_idle(&sim, 10);
	fake_config()->failure_in[FAKE_RESOLVE] = 0;
	sim_settle_guests(&sim);

	cr_assert_eq(fake_blocked(), 0);
	cr_assert_eq(sim.engine->shard[0].parked.count, 0);
	sim_close(&sim);
}

Test(sim_faults, sequential_faults_bring_their_neighbours)
{
	open_out(1);

	for (uint64_t page = 0; page < PAGES; page++)
		cr_assert(sim_touch(&sim, 0, page, false));

	cr_assert_lt(sim_stat(&sim, STAT_faults_file), PAGES / 4);
	cr_assert_gt(sim_stat(&sim, STAT_readahead_pages), PAGES / 2);
	sim_close(&sim);
}

Test(sim_faults, scattered_faults_bring_no_neighbours)
{
	open_out(1);

	for (uint64_t page = 0; page < PAGES; page += 2)
		cr_assert(sim_touch(&sim, 0, (page * 7) % PAGES, false));

	cr_assert_eq(sim_stat(&sim, STAT_readahead_pages), 0);
	cr_assert_eq(sim_stat(&sim, STAT_faults_file), PAGES / 2);
	sim_close(&sim);
}

Test(sim_faults, what_one_process_wrote_another_reads_after_it_was_out)
{
	open_out(2);

	for (uint64_t page = 0; page < PAGES; page++)
		cr_assert(sim_touch(&sim, 1, page, false));
	cr_assert(sim_touch(&sim, 1, 5, true));
	(void)sim_out(&sim);

	cr_assert(sim_touch(&sim, 0, 5, false));
	sim_close(&sim);
}

Test(sim_faults, a_process_that_joins_while_pages_are_out_is_served)
{
	uint32_t process;

	open_out(1);
	process = sim_process(&sim);

	cr_assert_eq(sim_join(&sim, process), 0);

	for (uint64_t page = 0; page < PAGES; page++)
		cr_assert(sim_touch(&sim, 1, page, false));
	sim_close(&sim);
}

Test(sim_faults, a_page_that_was_lost_is_an_error_in_a_process_that_joins_later)
{
	uint32_t process;

	open_out(1);
	fake_rot(page_slot_of(page_load(&sim.vm->table, 3)));
	cr_assert_not(sim_touch(&sim, 0, 3, false));
	process = sim_process(&sim);
	cr_assert_eq(sim_join(&sim, process), 0);

	cr_assert_not(sim_touch(&sim, 1, 3, true));

	cr_assert(fake_is_poisoned(process, address_of(3)));
	sim_close(&sim);
}

Test(sim_faults, a_page_that_was_lost_stays_an_error_after_detach_where_nobody_touched_it)
{
	open_out(1);
	fake_rot(page_slot_of(page_load(&sim.vm->table, 3)));
	cr_assert_not(sim_touch(&sim, 0, 3, false));

	cr_assert_eq(sim_join(&sim, sim_process(&sim)), 0);

	/* checks each process */
	sim_close(&sim);
}

Test(sim_faults, a_process_with_another_userfaultfd_is_refused_and_left_alone)
{
	uint32_t process;
	int other;

	open_out(1);
	process = sim_process(&sim);
	other = fake_uffd(process);
	cr_assert_eq(uffd_handshake(other, UFFD_WP), 0);
	cr_assert_eq(uffd_register(other, address_of(100), PAGE_BYTES, false), 0);

	cr_assert_eq(sim_join(&sim, process), -EBUSY);

	cr_assert_eq(vm_process_count(sim.vm), 1);
	cr_assert_not(fake_is_registered(process, address_of(0)));
	cr_assert(fake_is_registered(process, address_of(100)));
	sim_close(&sim);
}

Test(sim_faults, pages_come_in_through_the_living_when_a_process_dies)
{
	open_out(2);

	fake_kill(0);
	sim_all_in(&sim);

	cr_assert_eq(sim_pages(&sim).state[PAGE_SWAPPED], 0);
	sim_leave(&sim, 0);
	sim_read_all(&sim);
	sim_close(&sim);
}

Test(sim_faults, bringing_pages_in_ends_when_the_only_process_is_dead)
{
	struct dispatch_result result;

	open_out(1);

	fake_kill(0);
	cr_assert_eq(sim_dispatch(&sim, CHUNK_IN, 0, 1, &result), 0);

	cr_assert_eq(result.error, -ESRCH);
	cr_assert_eq(result.left_pages, PAGES);
	sim_leave(&sim, 0);
	sim_abandon(&sim);
}

Test(sim_faults, moved_memory_is_served_at_its_new_address)
{
	const uint64_t to = sim_address(0) + (64u << 20);
	uint64_t address;
	uint64_t size;

	open_out(1);

	fake_move(0, address_of(0), 16 * PAGE_BYTES, to);
	sim_idle(&sim, 20);

	for (uint64_t page = 0; page < 16; page++)
		cr_assert_not(fake_touch(0, to + page * PAGE_BYTES, false));
	sim_settle_guests(&sim);
	cr_assert_eq(sim.events[ENGINE_RANGE_MOVED], 0);
	sim_check(&sim);
	cr_assert_eq(sim.events[ENGINE_RANGE_MOVED], 1);
	cr_assert_eq(vm_piece_address(sim.vm, 0, 0, 1, &address, &size), -ESTALE);
	sim_read_all(&sim);
	fake_kill(0);
	sim_leave(&sim, 0);
	sim_abandon(&sim);
}

/* Process 0 of @processes unmaps 8 pages that are out. */
static struct dispatch_result unmap_and_bring_in(uint32_t processes)
{
	struct dispatch_result result;

	open_out(processes);
	fake_unmap(0, address_of(8), 8 * PAGE_BYTES);
	sim_idle(&sim, 20);
	cr_assert_eq(sim_dispatch(&sim, CHUNK_IN, 0, 1, &result), 0);
	return result;
}

Test(sim_faults, memory_that_is_unmapped_comes_back_into_its_file)
{
	const struct dispatch_result result = unmap_and_bring_in(1);

	cr_assert_eq(result.error, 0);
	cr_assert_eq(result.left_pages, 0);
	cr_assert_eq(sim_pages(&sim).state[PAGE_RESIDENT], PAGES);
	sim_read_all(&sim);
	sim_close(&sim);
}

Test(sim_faults, memory_that_one_of_two_processes_unmaps_goes_to_the_other)
{
	const struct dispatch_result result = unmap_and_bring_in(2);

	cr_assert_eq(result.left_pages, 0);
	cr_assert_eq(sim_stat(&sim, STAT_refilled_pages), 0);
	sim_read_all(&sim);
	sim_close(&sim);
}

Test(sim_faults, a_forked_child_is_served)
{
	uint32_t child;

	open_out(1);

	child = fake_fork(0);
	sim_idle(&sim, 20);
	for (uint64_t page = 0; page < PAGES; page++)
		cr_assert_not(fake_touch(child, address_of(page), false));
	sim_settle_guests(&sim);

	sim_check(&sim);
	cr_assert_eq(sim.events[ENGINE_PROCESS_FORKED], 1);
	fake_kill(child);
	sim_all_in(&sim);
	sim_close(&sim);
}

Test(sim_faults, a_child_that_outlives_its_parent_goes_with_the_VM)
{
	uint32_t child;

	open_out(1);
	child = fake_fork(0);
	sim_idle(&sim, 20);
	fake_threads(child, 2);

	fake_kill(0);
	sim_leave(&sim, 0);
	fake_kill(child);
	sim_abandon(&sim);
}

/* Of few pages, slot 0 among theirs, so that any mistake about whose slot it is shows. */
Test(sim_faults, a_page_touched_while_it_is_written_stays_in_RAM)
{
	struct sim_config config = quiet(1);

	config.pages[0] = 6;
	config.threads = 3;
	config.verify_clean = false;
	config.world.delay = 6;
	sim_open(&config, &sim);

	for (uint32_t cycle = 0; cycle < 300; cycle++) {
		(void)sim_out(&sim);
		sim_idle(&sim, 5);
	}

	cr_assert_gt(sim_stat(&sim, STAT_faults_staged), 100);
	sim_read_all(&sim);
	sim_close(&sim);
}

Test(sim_faults, a_fault_on_a_page_being_punched_waits_for_the_punch)
{
	bool has_met = false;
	struct dispatch_result result;

	for (uint64_t seed = 1; seed < 30 && !has_met; seed++) {
		struct sim_config config = quiet(1);

		config.seed = seed;
		config.threads = 6;
		config.world.guest_rate = 20;
		config.world.delay = 8;
		sim_open(&config, &sim);
		sim_idle(&sim, 100);
		(void)sim_enable(&sim, SIM_RIGHT, 0, 1);
		cr_assert_eq(sim_dispatch(&sim, CHUNK_OUT, 0, 1, &result), 0);
		has_met = sim_stat(&sim, STAT_faults_parked) > 0;
		sim_close(&sim);
	}
	cr_assert(has_met);
}
