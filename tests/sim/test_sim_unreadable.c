/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that gives nothing back for a while: what nobody touches meanwhile is not lost. */
#include <criterion/criterion.h>
#include <errno.h>

#include "engine/limits.h"
#include "tests/sim/sim.h"

#define PAGES 200u

static struct sim sim;

static void out_and_gone(bool is_encrypted)
{
	struct sim_config config = sim_defaults(1);

	config.threads = 0;
	config.pages[0] = CHUNK_PAGES;
	config.is_encrypted = is_encrypted;
	sim_open(&config, &sim);
	sim_write(&sim, PAGES);
	cr_assert_eq(sim_out(&sim).pages, PAGES);
	fake_config()->failure_in[FAKE_READ] = 1;
	fake_config()->failure_way[FAKE_READ] = 1; /* EIO */
}

static void back(void)
{
	fake_config()->failure_in[FAKE_READ] = 0;
}

static uint64_t lost(void)
{
	return sim_pages(&sim).state[PAGE_POISONED];
}

Test(sim_unreadable, a_swap_in_leaves_what_it_cannot_read)
{
	struct dispatch_result result;
	uint64_t first;
	uint64_t count;

	out_and_gone(false);
	result = sim_all(&sim, CHUNK_IN);

	cr_assert_eq(result.error, -EIO);
	cr_assert_eq(result.left_pages, PAGES);
	cr_assert_eq(lost(), 0);
	cr_assert_eq(vm_next_out(sim.vm, 0, &first, &count), 0);
	cr_assert_eq(first, 0);
	cr_assert_eq(count, PAGES);
	cr_assert_eq(vm_next_out(sim.vm, PAGES, &first, &count), -ENXIO);

	back();
	result = sim_all(&sim, CHUNK_IN);
	cr_assert_eq(result.error, 0);
	cr_assert_eq(result.pages, PAGES);
	sim_close(&sim);
}

Test(sim_unreadable, a_disk_that_is_gone_is_not_asked_for_every_page)
{
	out_and_gone(true);
	(void)sim_all(&sim, CHUNK_IN);

	/* Each page alone, each with the run behind it, and the run that is left. */
	cr_assert_leq(sim_stat(&sim, STAT_io_errors), UNREADABLE_MAX * (READ_TRIES_MAX + 1) + 1);
	back();
	sim_close(&sim);
}

Test(sim_unreadable, a_touch_loses_its_page_only)
{
	out_and_gone(false);

	cr_assert_not(sim_touch(&sim, 0, 7, false));
	back();
	(void)sim_all(&sim, CHUNK_IN);

	cr_assert_eq(lost(), 1);
	cr_assert_eq(sim_state(&sim, 7), PAGE_POISONED);
	sim_close(&sim);
}

Test(sim_unreadable, what_the_operator_gives_up_is_lost)
{
	out_and_gone(false);

	(void)sim_all(&sim, CHUNK_IN_OR_POISON);

	cr_assert_eq(lost(), PAGES);
	back();
	sim_close(&sim);
}
