/* SPDX-License-Identifier: Apache-2.0 */
/* Recording of faults: each touch once, bounded, begun and ended while guests run. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

#define PAGES 64u

static struct sim sim;

static struct sim_config quiet(uint32_t shards)
{
	struct sim_config config = sim_defaults(3);

	config.threads = 0;
	config.shards = shards;
	config.pages[0] = 4 * CHUNK_PAGES;
	return config;
}

static void open_quiet(uint32_t shards)
{
	const struct sim_config config = quiet(shards);

	sim_open(&config, &sim);
}

static void enable(void)
{
	(void)sim_enable(&sim, SIM_RIGHT, 0, vm_chunk_count(sim.vm));
}

static struct recording stop(void)
{
	struct recording recording;

	cr_assert_eq(vm_record_stop(sim.vm, &recording), 0);
	for (uint64_t i = 1; i < recording.count; i++)
		cr_assert_geq(recording.fault[i].time_ns, recording.fault[i - 1].time_ns);
	return recording;
}

/* The pages of [0, PAGES) in an order that is no stream. */
static uint64_t scattered(uint64_t i)
{
	return i * 37 % PAGES;
}

static void check_faults(const struct recording *recording, enum latency kind, bool is_write,
	uint64_t (*page)(uint64_t))
{
	cr_assert_eq(recording->count, PAGES);
	cr_assert_eq(recording->dropped, 0);
	for (uint64_t i = 0; i < PAGES; i++) {
		cr_assert_eq(recording->fault[i].page, page(i));
		cr_assert_eq(recording->fault[i].kind, kind);
		cr_assert_eq(recording->fault[i].is_write, is_write);
	}
}

static uint64_t sequential(uint64_t i)
{
	return i;
}

Test(sim_record, each_first_touch_of_a_stage_is_recorded_once_in_order)
{
	open_quiet(2);
	sim_write(&sim, PAGES);
	cr_assert_eq(vm_record_start(sim.vm, 0), 0);

	for (uint32_t stage = 0; stage < 3; stage++) {
		struct recording recording;

		enable();
		for (uint64_t i = 0; i < 2 * (uint64_t)PAGES; i++)
			cr_assert(sim_touch(&sim, 0, scattered(i), stage == 1));
		recording = stop();
		check_faults(&recording, LATENCY_STAGED, stage == 1, scattered);
		free(recording.fault);
		cr_assert_eq(vm_record_start(sim.vm, 0), 0);
	}

	sim_close(&sim);
}

Test(sim_record, a_scan_is_recorded_page_by_page)
{
	struct recording recording;

	open_quiet(1);
	sim_write(&sim, PAGES);
	enable();
	cr_assert_eq(vm_record_start(sim.vm, 0), 0);
	for (uint64_t page = 0; page < PAGES; page++)
		cr_assert(sim_touch(&sim, 0, page, false));
	recording = stop();
	check_faults(&recording, LATENCY_STAGED, false, sequential);
	free(recording.fault);

	(void)sim_out(&sim);
	cr_assert_eq(vm_record_start(sim.vm, 0), 0);
	for (uint64_t page = 0; page < PAGES; page++)
		cr_assert(sim_touch(&sim, 0, page, false));
	recording = stop();

	check_faults(&recording, LATENCY_FILE, false, sequential);
	cr_assert_eq(sim_stat(&sim, STAT_readahead_pages), 0);
	free(recording.fault);
	sim_close(&sim);
}

Test(sim_record, pages_that_hold_nothing_are_recorded_as_zero)
{
	struct recording recording;

	open_quiet(2);
	cr_assert_eq(vm_record_start(sim.vm, 0), 0);
	for (uint64_t i = 0; i < PAGES; i++)
		cr_assert(sim_touch(&sim, 0, scattered(i), true));

	recording = stop();

	check_faults(&recording, LATENCY_ZERO, true, scattered);
	free(recording.fault);
	sim_close(&sim);
}

Test(sim_record, what_does_not_fit_is_counted)
{
	struct recording recording;

	open_quiet(1);
	cr_assert_eq(vm_record_start(sim.vm, 10), 0);
	for (uint64_t i = 0; i < PAGES; i++)
		cr_assert(sim_touch(&sim, 0, scattered(i), true));

	recording = stop();

	cr_assert_eq(recording.count, 10);
	cr_assert_eq(recording.dropped, PAGES - 10);
	for (uint64_t i = 0; i < 10; i++)
		cr_assert_eq(recording.fault[i].page, scattered(i));
	free(recording.fault);
	sim_close(&sim);
}

/* Page 0 of the second region follows the last one of the first, whose last chunk is short. */
Test(sim_record, pages_are_numbered_without_the_padding_between_regions)
{
	struct sim_config config = quiet(2);
	struct recording recording;

	config.pages[0] = CHUNK_PAGES + 40;
	config.pages[1] = PAGES;
	sim_open(&config, &sim);
	cr_assert_eq(vm_record_start(sim.vm, 0), 0);
	cr_assert_not(fake_touch(0, sim_address(1) + 7 * PAGE_BYTES, true));
	sim_settle_guests(&sim);

	recording = stop();

	cr_assert_eq(recording.count, 1);
	cr_assert_eq(recording.fault[0].page, CHUNK_PAGES + 40 + 7);
	cr_assert_lt(recording.fault[0].page, vm_pages(sim.vm));
	free(recording.fault);
	sim_close(&sim);
}

Test(sim_record, a_recording_is_begun_once_and_ended_once)
{
	struct recording recording = {.count = 77};

	open_quiet(2);
	cr_assert_not(vm_is_recorded(sim.vm));
	cr_assert_eq(vm_record_stop(sim.vm, &recording), -ENODATA);
	cr_assert_eq(recording.count, 77);
	cr_assert_eq(vm_record_start(sim.vm, 5), 0);
	cr_assert(vm_is_recorded(sim.vm));

	cr_assert_eq(vm_record_start(sim.vm, 5), -EALREADY);

	cr_assert_eq(vm_record_stop(sim.vm, &recording), 0);
	cr_assert_eq(recording.count, 0);
	free(recording.fault);
	cr_assert_not(vm_is_recorded(sim.vm));
	cr_assert_eq(vm_record_stop(sim.vm, &recording), -ENODATA);
	sim_close(&sim);
}

Test(sim_record, a_VM_that_goes_takes_its_recording_along)
{
	open_quiet(2);
	cr_assert_eq(vm_record_start(sim.vm, 0), 0);

	cr_assert(sim_touch(&sim, 0, 1, true));

	sim_close(&sim);
}

static uint64_t faults_served(void)
{
	return sim_stat(&sim, STAT_faults_staged) + sim_stat(&sim, STAT_faults_file) +
	       sim_stat(&sim, STAT_faults_zero);
}

/* Starting and stopping turn the shards, so faults may be served on either side of them. */
Test(sim_record, recordings_begun_and_ended_under_load_hold_the_faults_in_between)
{
	struct sim_config config = quiet(3);
	uint64_t recorded = 0;

	config.threads = 6;
	config.processes = 2;
	config.world.guest_rate = 20;
	sim_open(&config, &sim);
	for (uint32_t cycle = 0; cycle < 60; cycle++) {
		const uint64_t before = faults_served();
		struct recording recording;
		uint64_t begun;
		uint64_t ending;

		cr_assert_eq(vm_record_start(sim.vm, cycle % 3 == 0 ? 20 : 0), 0);
		begun = faults_served();
		enable();
		if (cycle % 2 == 0)
			(void)sim_all(&sim, CHUNK_OUT);
		sim_idle(&sim, (uint32_t)fake_random(200));
		ending = faults_served();
		recording = stop();

		cr_assert_geq(recording.count + recording.dropped, ending - begun);
		cr_assert_leq(recording.count + recording.dropped, faults_served() - before);
		recorded += recording.count;
		free(recording.fault);
	}

	cr_assert_gt(recorded, 1000);
	sim_read_all(&sim);
	sim_close(&sim);
}
