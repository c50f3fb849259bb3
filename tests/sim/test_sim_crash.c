/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon dies at any call below the engine and at any store to a page word, again and again,
 * while guests run and control moves pages; each time a successor takes over. What guests read is
 * what they wrote, no slot leaks, nobody waits for ever.
 *
 *   test_sim_crash [SEED [WORLDS [CRASHES]]]   default 1, 24 worlds of 400 crashes each
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "tests/sim/sim.h"
#include "tests/support/fake_crash.h"

/* Crash points from one crash to the next, at most: an operation over a chunk has some hundreds. */
#define GAP_MAX 3000u

static jmp_buf crashed;
static uint32_t crashes_wanted = 400;

/* The linker puts it in the way of every caller (--wrap). */
void __real_page_move(
	struct page_table *table, struct stats_block *stats, uint64_t page, page_word to);
void __wrap_page_move(
	struct page_table *table, struct stats_block *stats, uint64_t page, page_word to);

void __wrap_page_move(
	struct page_table *table, struct stats_block *stats, uint64_t page, page_word to)
{
	fake_crash_point();
	__real_page_move(table, stats, page, to);
	fake_crash_point();
}

/* Stores of a successor that makes the words true again. */
void __real_page_put(struct page_table *table, uint64_t page, page_word to);
void __wrap_page_put(struct page_table *table, uint64_t page, page_word to);

void __wrap_page_put(struct page_table *table, uint64_t page, page_word to)
{
	fake_crash_point();
	__real_page_put(table, page, to);
	fake_crash_point();
}

/* Locking the buffers of each successor, and so clearing them, took nine tenths of the time. */
int __wrap_mlock(const void *address, size_t size);

int __wrap_mlock(const void *address, size_t size)
{
	(void)address;
	(void)size;
	return 0;
}

static void crash(void *sim)
{
	(void)sim;
	longjmp(crashed, 1);
}

static void choose_world(struct sim_config *config, uint64_t seed)
{
	static const uint32_t none_or[] = {0, 3000, 300};
	struct fake_config *world = &config->world;

	config->shards = 1 + (uint32_t)(seed % 3);
	config->processes = seed % 4 == 0 ? 2 : 1;
	config->threads = 2 + (uint32_t)(seed % 5);
	config->pages[0] = CHUNK_PAGES * (1 + seed % 2) + seed % 11 * 40;
	config->pages[1] = seed % 3 == 0 ? 300 : 0;
	config->verify_clean = seed % 4 != 1;
	config->is_encrypted = seed / 2 % 2 == 1;
	world->guest_rate = 2 + (uint32_t)(seed % 9);
	world->delay = 1 + (uint32_t)(seed % 5);
	world->features = SIM_FEATURES;
	if (seed % 5 == 4)
		world->features = UFFD_CAN_POISON | UFFD_EVENTS;
	for (uint32_t i = 0; i < FAKE_ROT; i++)
		world->failure_in[i] = none_or[seed / 2 % 3];
	world->discard_in = seed % 2 == 1 ? 500 : 0;
	world->allocate_in = seed % 4 == 3 ? 200 : 0;
}

/* The daemon that recovers may die as well: sooner or later one comes through. */
static void live_and_die(struct sim *sim)
{
	volatile uint32_t crashes = 0;
	volatile bool is_whole = true;

	fake_config()->crash = crash;
	if (setjmp(crashed) != 0) {
		crashes++;
		is_whole = false;
		fake_crash();
	}
	while (crashes < crashes_wanted) {
		fake_config()->crash_in = 1 + fake_random(GAP_MAX);
		if (!is_whole)
			sim_recover(sim);
		is_whole = true;
		sim_random_operation(sim);
	}
	fake_config()->crash_in = 0;
	if (!is_whole)
		sim_recover(sim);
}

static void one_world(uint64_t seed)
{
	struct sim_config config = sim_defaults(seed);
	struct sim sim;

	choose_world(&config, seed);
	sim_open(&config, &sim);
	live_and_die(&sim);
	sim_settle_guests(&sim);
	sim_read_all(&sim);
	(void)printf("seed %lu: %u crashes, %lu accesses, %lu operations, %lu poisoned\n", seed,
		crashes_wanted, fake_accesses(), fake_operations(),
		sim_stat(&sim, STAT_poisoned_pages));
	sim_close(&sim);
	(void)fflush(stdout);
	_Exit(0); /* a daemon that died left its memory: no leak of ours */
}

int main(int argc, char **argv)
{
	if (argc > 3)
		crashes_wanted = (uint32_t)strtoul(argv[3], NULL, 0);
	return sim_worlds(argc, argv, 24, one_world);
}
