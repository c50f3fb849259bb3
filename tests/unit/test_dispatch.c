/* SPDX-License-Identifier: Apache-2.0 */
/* One operation over many chunks, on a stepped engine over the fake world. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/sim/sim.h"

#define CHUNKS 40u

static struct sim sim;

static void open_quiet(uint32_t shards, uint64_t first_pages, uint64_t second_pages)
{
	struct sim_config config = sim_defaults(3);

	config.shards = shards;
	config.threads = 0;
	config.pages[0] = first_pages;
	config.pages[1] = second_pages;
	sim_open(&config, &sim);
}

/* One page of each chunk of region 0 is written. */
static void write_each_chunk(void)
{
	for (uint64_t chunk = 0; chunk < sim.config.pages[0] / CHUNK_PAGES; chunk++)
		cr_assert(sim_touch(&sim, 0, chunk * CHUNK_PAGES + chunk, true));
}

static void close_sim(void)
{
	sim_close(&sim);
}

TestSuite(dispatch, .fini = close_sim);

Test(dispatch, every_chunk_is_worked_on_once)
{
	struct dispatch_result result;

	open_quiet(4, CHUNKS * CHUNK_PAGES, 0);
	write_each_chunk();

	cr_assert_eq(sim_dispatch(&sim, CHUNK_STAGE, 0, CHUNKS, &result), 0);

	cr_assert_eq(result.chunks, CHUNKS);
	cr_assert_eq(result.pages, CHUNKS);
	cr_assert_eq(atomic_load(&sim.control.chunks_done), CHUNKS);
	cr_assert_eq(atomic_load(&sim.control.pages_done), CHUNKS);
}

Test(dispatch, only_the_chunks_asked_for_are_touched)
{
	struct dispatch_result result;

	open_quiet(3, CHUNKS * CHUNK_PAGES, 0);
	write_each_chunk();

	cr_assert_eq(sim_dispatch(&sim, CHUNK_STAGE, 7, 9, &result), 0);

	cr_assert_eq(result.chunks, 9);
	for (uint64_t chunk = 0; chunk < CHUNKS; chunk++)
		cr_assert_eq(sim_state(&sim, chunk * CHUNK_PAGES + chunk) == PAGE_STAGED,
			chunk >= 7 && chunk < 16);
}

Test(dispatch, chunks_without_work_are_passed_over)
{
	struct dispatch_result result;

	open_quiet(2, CHUNKS * CHUNK_PAGES, 0);
	write_each_chunk();
	(void)sim_enable(&sim, SIM_RIGHT, 4, 2);

	cr_assert_eq(sim_dispatch(&sim, CHUNK_OUT, 0, CHUNKS, &result), 0);

	cr_assert_eq(result.chunks, 2);
	cr_assert_eq(result.pages, 2);
	cr_assert_eq(sim_dispatch(&sim, CHUNK_IN, 0, CHUNKS, &result), 0);
	cr_assert_eq(result.chunks, 2);
}

Test(dispatch, a_region_that_ends_within_a_chunk_and_the_next_are_both_covered)
{
	struct dispatch_result result;

	open_quiet(2, 2 * CHUNK_PAGES + 3, CHUNK_PAGES + 1);
	for (uint64_t page = 0; page < 2 * CHUNK_PAGES + 3; page += CHUNK_PAGES)
		cr_assert(sim_touch(&sim, 0, page, true));
	cr_assert_not(fake_touch(0, sim_address(1) + CHUNK_BYTES, true));
	sim_settle_guests(&sim);

	cr_assert_eq(vm_chunk_count(sim.vm), 5);
	cr_assert_eq(vm_pages(sim.vm), 3 * CHUNK_PAGES + 4);
	(void)sim_enable(&sim, SIM_RIGHT, 0, 5);
	cr_assert_eq(sim_dispatch(&sim, CHUNK_OUT, 0, 5, &result), 0);

	cr_assert_eq(result.pages, 4);
	cr_assert_eq(sim_state(&sim, 4 * CHUNK_PAGES), PAGE_SWAPPED);
}

Test(dispatch, an_abort_leaves_the_rest_and_says_so)
{
	struct dispatch_result result;

	open_quiet(1, CHUNKS * CHUNK_PAGES, 0);
	write_each_chunk();
	fake_config()->abort = &sim.control.abort;
	fake_config()->abort_tick = fake_tick() + 20;

	cr_assert_eq(sim_dispatch(&sim, CHUNK_STAGE, 0, CHUNKS, &result), -ECANCELED);

	cr_assert_lt(result.chunks, CHUNKS);
	cr_assert_eq(result.pages, result.chunks);
	cr_assert_eq(sim_pages(&sim).state[PAGE_STAGED], result.pages);
}

Test(dispatch, the_first_error_is_told_and_the_other_chunks_go_on)
{
	struct dispatch_result result;

	open_quiet(2, CHUNKS * CHUNK_PAGES, 0);
	write_each_chunk();
	(void)sim_enable(&sim, SIM_RIGHT, 0, CHUNKS);
	fake_config()->failure_way[FAKE_WRITE] = 1;
	fake_config()->failure_in[FAKE_WRITE] = 4;

	cr_assert_eq(sim_dispatch(&sim, CHUNK_OUT, 0, CHUNKS, &result), 0);
	fake_config()->failure_in[FAKE_WRITE] = 0;

	cr_assert_eq(result.error, -EIO);
	cr_assert_gt(result.pages, 0);
	cr_assert_eq(result.pages + result.left_pages, CHUNKS);
}

Test(dispatch, pieces_lie_in_one_stripe_and_one_region)
{
	uint32_t next = 0;
	uint32_t first;
	uint32_t count;
	uint32_t pieces = 0;

	open_quiet(3, CHUNKS * CHUNK_PAGES, 2 * CHUNK_PAGES);
	write_each_chunk();
	cr_assert_not(fake_touch(0, sim_address(1), true));
	sim_settle_guests(&sim);

	while (vm_next_piece(sim.vm, next, 8, &first, &count) == 0) {
		cr_assert_geq(first, next);
		cr_assert_leq(count, 8);
		for (uint32_t i = 1; i < count; i++) {
			cr_assert_eq(vm_owner(sim.vm, first + i), vm_owner(sim.vm, first));
			cr_assert_eq(vm_region_of_chunk(sim.vm, first + i),
				vm_region_of_chunk(sim.vm, first));
		}
		next = first + count;
		pieces++;
	}

	cr_assert_geq(next, CHUNKS + 1);
	cr_assert_gt(pieces, 2);
}
