/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of staging and eviction, one by one, on a quiet guest of one process. */
#include <criterion/criterion.h>
#include <errno.h>

#include "queue/base/clock.h"
#include "tests/sim/sim.h"

#define PAGES 64u

static struct sim sim;

static struct sim_config quiet(void)
{
	struct sim_config config = sim_defaults(1);

	config.threads = 0;
	config.pages[0] = CHUNK_PAGES;
	return config;
}

static void open_quiet(void)
{
	const struct sim_config config = quiet();

	sim_open(&config, &sim);
}

static uint64_t count_of(enum page_state state)
{
	return sim_pages(&sim).state[state];
}

static void touch_all(bool is_write)
{
	for (uint64_t page = 0; page < PAGES; page++)
		cr_assert(sim_touch(&sim, 0, page, is_write));
}

Test(sim_rules, pages_do_not_leave_before_the_dwell_is_over)
{
	struct sim_config config = quiet();
	struct dispatch_result early;
	struct dispatch_result late;

	config.dwell_ms = 30000;
	sim_open(&config, &sim);
	sim_write(&sim, PAGES);

	early = sim_out(&sim);
	cr_assert_gt(early.next_ready_ns, clock_ns());
	fake_pass(early.next_ready_ns - clock_ns());
	late = sim_all(&sim, CHUNK_OUT);

	cr_assert_eq(early.pages, 0);
	cr_assert_eq(early.left_pages, PAGES);
	cr_assert_eq(late.pages, PAGES);
	sim_close(&sim);
}

Test(sim_rules, pages_of_an_unsettled_chunk_do_not_leave)
{
	struct dispatch_result result;

	open_quiet();
	sim_write(&sim, PAGES);
	(void)sim_enable(&sim, SIM_WITHOUT_SETTLE, 0, 1);

	result = sim_all(&sim, CHUNK_OUT);

	cr_assert_eq(result.pages, 0);
	cr_assert_eq(result.left_pages, PAGES);
	cr_assert_eq(count_of(PAGE_STAGED), PAGES);
	sim_close(&sim);
}

Test(sim_rules, a_touch_of_an_unsettled_page_drops_its_slot)
{
	open_quiet();
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	touch_all(false);
	cr_assert_eq(engine_store_used_bytes(sim.engine), PAGES * PAGE_BYTES);
	(void)sim_enable(&sim, SIM_WITHOUT_SETTLE, 0, 1);

	cr_assert(sim_touch(&sim, 0, 3, false));

	cr_assert_eq(engine_store_used_bytes(sim.engine), (PAGES - 1) * PAGE_BYTES);
	sim_close(&sim);
}

Test(sim_rules, clean_pages_leave_without_a_write)
{
	struct dispatch_result result;
	uint64_t written;

	open_quiet();
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	touch_all(false);
	cr_assert(sim_touch(&sim, 0, 5, true));
	written = sim_stat(&sim, STAT_written_bytes);

	result = sim_out(&sim);

	cr_assert_eq(result.pages, PAGES);
	cr_assert_eq(result.clean_pages, PAGES - 1);
	cr_assert_eq(sim_stat(&sim, STAT_written_bytes) - written, PAGE_BYTES);
	sim_close(&sim);
}

Test(sim_rules, without_marks_the_digest_finds_clean_pages)
{
	struct sim_config config = quiet();
	struct dispatch_result result;

	config.world.features = UFFD_CAN_POISON;
	sim_open(&config, &sim);
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	touch_all(false);
	cr_assert(sim_touch(&sim, 0, 5, true));

	result = sim_out(&sim);

	cr_assert_eq(result.clean_pages, PAGES - 1);
	sim_close(&sim);
}

Test(sim_rules, a_false_clean_mark_is_found_by_its_digest)
{
	struct dispatch_result result;

	open_quiet();
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	touch_all(false);
	(void)fake_touch(0, sim_address(0) + 7 * PAGE_BYTES, true);
	(void)sim_enable(&sim, SIM_SETTLE_BLINDLY, 0, 1);

	result = sim_all(&sim, CHUNK_OUT);

	cr_assert_eq(result.pages, PAGES);
	cr_assert_eq(sim_stat(&sim, STAT_false_clean_pages), 1);
	sim_read_all(&sim);
	sim_close(&sim);
}

Test(sim_rules, trim_drops_zero_pages_only)
{
	struct dispatch_result result;

	open_quiet();
	touch_all(false);
	for (uint64_t page = 0; page < PAGES / 2; page++)
		cr_assert(sim_touch(&sim, 0, page, true));
	(void)sim_enable(&sim, SIM_RIGHT, 0, 1);

	result = sim_all(&sim, CHUNK_TRIM);

	cr_assert_eq(result.zero_pages, PAGES / 2);
	cr_assert_eq(result.pages, PAGES / 2);
	cr_assert_eq(count_of(PAGE_STAGED), PAGES / 2);
	cr_assert_eq(engine_store_used_bytes(sim.engine), 0);
	sim_close(&sim);
}

Test(sim_rules, a_page_zeroed_in_place_by_its_punch_is_filled_again)
{
	open_quiet();
	sim_write(&sim, PAGES);
	fake_config()->failure_in[FAKE_PUNCH] = 1;
	fake_config()->failure_way[FAKE_PUNCH] = 2;
	(void)sim_out(&sim);
	fake_config()->failure_in[FAKE_PUNCH] = 0;
	cr_assert_eq(sim_stat(&sim, STAT_stuck_pages), PAGES);
	cr_assert_eq(count_of(PAGE_SWAPPED), PAGES);

	touch_all(false);

	cr_assert_eq(sim_stat(&sim, STAT_refilled_pages), PAGES);
	sim_close(&sim);
}

Test(sim_rules, a_punch_that_fails_once_is_tried_again)
{
	open_quiet();
	sim_write(&sim, PAGES);
	(void)sim_enable(&sim, SIM_RIGHT, 0, 1);
	/* write: rot, write; then the punch */
	fake_config()->fail_at = fake_operations() + 3;

	(void)sim_all(&sim, CHUNK_OUT);

	cr_assert_eq(sim_stat(&sim, STAT_stuck_pages), 0);
	cr_assert_eq(sim_stat(&sim, STAT_io_errors), 1);
	for (uint64_t page = 0; page < PAGES; page++)
		cr_assert_not(fake_is_present(sim.memfd[0], page));
	sim_close(&sim);
}

Test(sim_rules, a_rotten_slot_costs_its_page_alone_and_raises_an_event)
{
	open_quiet();
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	fake_rot(page_slot_of(page_load(&sim.vm->table, 3)));

	cr_assert_not(sim_touch(&sim, 0, 3, false));
	sim_read_all(&sim);

	cr_assert_eq(sim_stat(&sim, STAT_poisoned_pages), 1);
	cr_assert_eq(sim.events[ENGINE_PAGE_POISONED], 1);
	cr_assert_eq(sim.events[ENGINE_READ_ERROR], READ_TRIES_MAX - 1);
	cr_assert(fake_is_poisoned(0, sim_address(0) + 3 * PAGE_BYTES));
	cr_assert_eq(count_of(PAGE_RESIDENT), CHUNK_PAGES - 1);
	sim_close(&sim);
}

Test(sim_rules, a_read_that_fails_once_is_tried_again)
{
	open_quiet();
	sim_write(&sim, 1);
	(void)sim_out(&sim);
	fake_config()->fail_at = fake_operations() + 1;

	cr_assert(sim_touch(&sim, 0, 0, false));

	cr_assert_eq(sim_stat(&sim, STAT_io_errors), 1);
	cr_assert_eq(sim_stat(&sim, STAT_poisoned_pages), 0);
	sim_close(&sim);
}

static struct dispatch_result fail_writes(uint32_t way)
{
	fake_config()->failure_in[FAKE_WRITE] = 1;
	fake_config()->failure_way[FAKE_WRITE] = way;
	const struct dispatch_result result = sim_out(&sim);

	fake_config()->failure_in[FAKE_WRITE] = 0;
	return result;
}

Test(sim_rules, a_failed_write_keeps_the_pages_and_retires_the_slots)
{
	struct dispatch_result result;

	open_quiet();
	sim_write(&sim, PAGES);

	result = fail_writes(1);

	cr_assert_eq(result.error, -EIO);
	cr_assert_eq(result.left_pages, PAGES);
	cr_assert_eq(count_of(PAGE_STAGED), PAGES);
	cr_assert_eq(engine_store_retired_bytes(sim.engine), PAGES * PAGE_BYTES);
	cr_assert_eq(engine_store_used_bytes(sim.engine), 0);
	cr_assert_eq(sim.events[ENGINE_WRITE_ERROR], 1);
	sim_close(&sim);
}

Test(sim_rules, a_full_disk_keeps_the_pages_and_gives_the_slots_back)
{
	for (uint32_t way = 2; way <= 3; way++) {
		struct dispatch_result result;

		open_quiet();
		sim_write(&sim, PAGES);

		result = fail_writes(way);

		cr_assert_eq(result.error, -ENOSPC);
		cr_assert_eq(count_of(PAGE_STAGED), PAGES);
		cr_assert_eq(engine_store_retired_bytes(sim.engine), 0);
		cr_assert_eq(engine_store_used_bytes(sim.engine), 0);
		cr_assert_eq(sim_all(&sim, CHUNK_OUT).pages, PAGES);
		sim_close(&sim);
	}
}

Test(sim_rules, a_full_store_takes_what_it_can_and_says_so)
{
	struct sim_config config = quiet();
	struct dispatch_result result;

	config.pages[0] = CHUNK_PAGES + PAGES;
	config.world.disk_bytes = CHUNK_BYTES;
	sim_open(&config, &sim);
	sim_write(&sim, CHUNK_PAGES + PAGES);

	result = sim_out(&sim);

	cr_assert_eq(result.error, -ENOSPC);
	cr_assert_eq(result.pages, CHUNK_PAGES);
	cr_assert_eq(result.left_pages, PAGES);
	sim_close(&sim);
}

Test(sim_rules, a_VM_can_be_disabled_after_write_errors)
{
	open_quiet();
	sim_write(&sim, PAGES);
	(void)fail_writes(1);

	(void)sim_all(&sim, CHUNK_RELEASE);

	cr_assert_eq(vm_unregister(sim.vm), 0);
	cr_assert_eq(vm_register(sim.vm), 0);
	sim_close(&sim);
}

Test(sim_rules, faults_are_not_given_back_while_pages_are_out)
{
	open_quiet();
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);

	cr_assert_eq(vm_unregister(sim.vm), -EBUSY);

	cr_assert(vm_is_registered(sim.vm));
	touch_all(false);
	sim_close(&sim);
}

Test(sim_rules, space_of_freed_slots_goes_back)
{
	open_quiet();
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	sim_all_in(&sim);
	(void)sim_all(&sim, CHUNK_RELEASE);

	cr_assert_eq(engine_release_space(sim.engine, UINT64_MAX), CHUNK_BYTES);

	cr_assert_eq(engine_release_space(sim.engine, UINT64_MAX), 0);
	sim_close(&sim);
}

Test(sim_rules, a_swapped_page_that_the_guest_discards_keeps_its_slot)
{
	open_quiet();
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);

	fake_discard(sim.memfd[0], 3);
	sim_idle(&sim, 20);

	cr_assert_eq(sim_state(&sim, 3), PAGE_SWAPPED);
	cr_assert(sim_touch(&sim, 0, 3, false));
	sim_close(&sim);
}

Test(sim_rules, a_trusted_discard_frees_the_slots)
{
	struct sim_config config = quiet();

	config.trust_discard = true;
	config.world.features = SIM_FEATURES | UFFD_EVENT_DISCARD;
	sim_open(&config, &sim);
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);

	fake_remove(0, sim_address(0), 8 * PAGE_BYTES);
	sim_idle(&sim, 20);

	cr_assert_eq(sim_stat(&sim, STAT_removed_pages), 8);
	cr_assert_eq(engine_store_used_bytes(sim.engine), (PAGES - 8) * PAGE_BYTES);
	cr_assert(sim_touch(&sim, 0, 3, false));
	sim_close(&sim);
}

Test(sim_rules, a_zap_of_our_own_is_no_discard)
{
	struct sim_config config = quiet();

	config.trust_discard = true;
	config.world.features = SIM_FEATURES | UFFD_EVENT_DISCARD;
	sim_open(&config, &sim);
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	cr_assert(sim_touch(&sim, 0, PAGES, true));

	(void)sim_enable(&sim, SIM_RIGHT, 0, 1);

	cr_assert_eq(sim_stat(&sim, STAT_removed_pages), 0);
	cr_assert_eq(count_of(PAGE_SWAPPED), PAGES);
	sim_close(&sim);
}

Test(sim_rules, an_aborted_operation_says_so)
{
	struct dispatch_result result;

	open_quiet();
	sim_write(&sim, PAGES);
	(void)sim_enable(&sim, SIM_RIGHT, 0, 1);
	atomic_store(&sim.control.abort, true);

	cr_assert_eq(sim_dispatch(&sim, CHUNK_OUT, 0, 1, &result), -ECANCELED);

	cr_assert_eq(result.chunks, 0);
	cr_assert_eq(count_of(PAGE_STAGED), PAGES);
	sim_close(&sim);
}
