/* SPDX-License-Identifier: Apache-2.0 */
/* What a scrub finds, and that nobody else notices it. */
#include <criterion/criterion.h>

#include "tests/sim/sim.h"

#define PAGES 300u

static struct sim sim;

static void open_out(bool is_encrypted)
{
	struct sim_config config = sim_defaults(5);

	config.threads = 0;
	config.pages[0] = CHUNK_PAGES;
	config.is_encrypted = is_encrypted;
	sim_open(&config, &sim);
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	cr_assert_eq(sim_pages(&sim).state[PAGE_SWAPPED], PAGES);
}

static void finds_nothing(bool is_encrypted)
{
	struct dispatch_result result;

	open_out(is_encrypted);
	result = sim_all(&sim, CHUNK_SCRUB);

	cr_assert_eq(result.pages, PAGES);
	cr_assert_eq(result.bad_pages + result.mended_pages, 0);
	cr_assert_eq(sim_pages(&sim).state[PAGE_SWAPPED], PAGES);
	sim_close(&sim);
}

Test(sim_scrub, a_good_disk_has_no_bad_pages)
{
	finds_nothing(false);
	finds_nothing(true);
}

static void finds_two(bool is_encrypted)
{
	struct dispatch_result result;

	open_out(is_encrypted);
	fake_rot(sim_slot(&sim, 7));
	fake_rot(sim_slot(&sim, 299));
	result = sim_all(&sim, CHUNK_SCRUB);

	cr_assert_eq(result.bad_pages, 2);
	cr_assert_eq(result.mended_pages, 0);
	cr_assert_eq(sim.events[ENGINE_PAGE_CORRUPT], 2);
	cr_assert_eq(sim_stat(&sim, STAT_corrupt_pages), 2);
	cr_assert_eq(sim_state(&sim, 7), PAGE_SWAPPED);
	cr_assert_eq(fake_poisoned(), 0);
	cr_assert(sim_touch(&sim, 0, 8, false));
	cr_assert_not(sim_touch(&sim, 0, 7, false));
	sim_close(&sim);
}

Test(sim_scrub, pages_that_went_bad_are_found_reported_and_left)
{
	finds_two(false);
	finds_two(true);
}

Test(sim_scrub, a_page_in_RAM_leaves_its_bad_slot_and_loses_nothing)
{
	struct dispatch_result result;
	uint64_t retired;

	open_out(true);
	cr_assert(sim_touch(&sim, 0, 5, false));
	cr_assert_eq(sim_state(&sim, 5), PAGE_RESIDENT);
	fake_rot(sim_slot(&sim, 5));
	retired = engine_store_retired_bytes(sim.engine);

	result = sim_all(&sim, CHUNK_SCRUB);

	cr_assert_eq(result.bad_pages, 0);
	cr_assert_eq(result.mended_pages, 1);
	cr_assert_eq(engine_store_retired_bytes(sim.engine), retired + PAGE_BYTES);
	(void)sim_out(&sim);
	cr_assert(sim_touch(&sim, 0, 5, false));
	sim_close(&sim);
}

Test(sim_scrub, a_read_that_fails_once_is_no_bad_page)
{
	struct dispatch_result result;

	open_out(false);
	fake_config()->failure_in[FAKE_READ] = 40;
	for (uint32_t i = 0; i < 40; i++) {
		result = sim_all(&sim, CHUNK_SCRUB);
		cr_assert_eq(result.pages, PAGES);
		cr_assert_leq(result.bad_pages, sim_stat(&sim, STAT_corrupt_pages));
	}
	fake_config()->failure_in[FAKE_READ] = 0;

	result = sim_all(&sim, CHUNK_SCRUB);

	cr_assert_eq(result.bad_pages, 0);
	sim_close(&sim);
}
