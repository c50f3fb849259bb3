/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sequences of control operations on one VM while its guests run: what they read is what
 * they wrote, whatever happens in between.
 *
 *   test_sim_random [SEED [COUNT]]   runs COUNT worlds from SEED on; default 1, 40
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "queue/base/clock.h"
#include "tests/sim/sim.h"

#define ROUNDS 60u

static void choose_world(struct sim_config *config, uint64_t seed)
{
	static const uint32_t none_or[] = {0, 0, 3000, 300};
	struct fake_config *world = &config->world;

	config->shards = 1 + (uint32_t)(seed % 4);
	config->processes = seed % 3 == 0 ? 2 : 1;
	config->threads = 2 + (uint32_t)(seed % 7);
	config->pages[0] = CHUNK_PAGES * (1 + seed % 3) + seed % 11 * 40;
	config->pages[1] = seed % 2 == 0 ? 300 + seed % 5 * CHUNK_PAGES : 0;
	config->verify_clean = seed % 4 != 1;
	config->trust_discard = seed % 16 == 5;
	config->is_encrypted = seed / 2 % 2 == 1;
	world->guest_rate = 2 + (uint32_t)(seed % 13);
	world->delay = 1 + (uint32_t)(seed % 5);
	world->features = SIM_FEATURES;
	if (seed % 5 == 4)
		world->features = UFFD_CAN_POISON | UFFD_EVENTS;
	if (config->trust_discard)
		world->features |= UFFD_EVENT_DISCARD;
	for (uint32_t i = 0; i < FAKE_ROT; i++)
		world->failure_in[i] = none_or[(seed >> 2) % 4];
	world->failure_in[FAKE_ROT] = seed % 8 == 7 ? 20 : 0;
	world->discard_in = seed % 2 == 1 ? 500 : 0;
	world->allocate_in = seed % 4 == 3 ? 800 : 0;
	/* Too small and soon in pieces. */
	if (seed % 7 == 3)
		world->disk_bytes = config->shards * CHUNK_BYTES;
	if (seed % 6 == 2) {
		world->dma_in = 50;
		config->dwell_ms = 20;
		world->dma_ns = 15 * NS_PER_MS;
	}
}

/* A dwell that is refused ends when the result says so. */
static void move_out(struct sim *sim, enum chunk_op op, uint32_t first, uint32_t count)
{
	struct dispatch_result result;

	if (sim_dispatch(sim, op, first, count, &result) == 0 && result.next_ready_ns != 0) {
		const uint64_t now = clock_ns();

		if (result.next_ready_ns > now)
			fake_pass(result.next_ready_ns - now);
		(void)sim_dispatch(sim, op, first, count, &result);
	}
}

static void maybe_abort(struct sim *sim)
{
	struct fake_config *world = fake_config();

	atomic_store(&sim->control.abort, false);
	world->abort = &sim->control.abort;
	world->abort_tick = fake_random(10) == 0 ? fake_tick() + fake_random(300) : 0;
}

/* A process joins, or one that joined dies and is collected some time later. */
static void change_processes(struct sim *sim)
{
	const uint32_t index = 1 + (uint32_t)fake_random(FAKE_PROCESSES_MAX - 1);

	if (sim->is_served[index]) {
		fake_kill(sim->process[index]);
		sim_idle(sim, (uint32_t)fake_random(30));
		sim_leave(sim, index);
	} else if (sim->processes < FAKE_PROCESSES_MAX) {
		const uint32_t process = sim_process(sim);

		if (sim_join(sim, process) != 0)
			fake_fail("a process cannot join");
		/* Not before: what a mapper does that is not attached is lost. */
		fake_threads(process, 2);
	}
}

/* The VMM discards a few pages, and means it. */
static void give_back(struct sim *sim)
{
	const uint64_t page = fake_random(sim->config.pages[0] - 32);

	fake_remove(sim->process[0], sim_address(0) + page * PAGE_BYTES,
		(1 + fake_random(32)) * PAGE_BYTES);
}

/* A page is called bad only where the disk is. */
static void scrub(struct sim *sim, uint32_t first, uint32_t count)
{
	const struct fake_config *world = fake_config();
	struct dispatch_result result;

	(void)sim_dispatch(sim, CHUNK_SCRUB, first, count, &result);
	if (world->failure_in[FAKE_READ] == 0 && world->failure_in[FAKE_ROT] == 0 &&
		result.bad_pages + result.mended_pages > 0)
		fake_fail("a scrub calls good pages bad");
}

static void one_operation(struct sim *sim)
{
	static const enum sim_enable ways[] = {
		SIM_RIGHT, SIM_RIGHT, SIM_RIGHT, SIM_WITHOUT_SCAN, SIM_PAGEOUT, SIM_WITHOUT_SETTLE};
	const uint32_t chunks = vm_chunk_count(sim->vm);
	const uint32_t first = fake_random(2) ? 0 : (uint32_t)fake_random(chunks);
	const uint32_t count =
		fake_random(2) ? chunks - first : 1 + (uint32_t)fake_random(chunks - first);
	struct dispatch_result result;

	maybe_abort(sim);
	switch (fake_random(14)) {
	case 0:
	case 1:
	case 2:
	case 3: (void)sim_enable(sim, ways[fake_random(6)], first, count); break;
	case 4: move_out(sim, CHUNK_TRIM, first, count); break;
	case 5:
	case 6:
	case 7: move_out(sim, CHUNK_OUT, first, count); break;
	case 8: (void)sim_dispatch(sim, CHUNK_IN, first, count, &result); break;
	case 9: (void)sim_dispatch(sim, CHUNK_RELEASE, first, count, &result); break;
	case 10: (void)engine_release_space(sim->engine, fake_random(8) * CHUNK_BYTES); break;
	case 12: scrub(sim, first, count); break;
	case 11:
		if (sim->config.trust_discard) {
			give_back(sim);
			break;
		}
		if (sim->config.seed % 5 == 2) {
			change_processes(sim);
			break;
		}
		__attribute__((fallthrough));
	default: sim_idle(sim, (uint32_t)fake_random(300)); break;
	}
	fake_config()->abort_tick = 0;
	fake_config()->disk_is_full = fake_random(20) == 0;
}

static void one_world(uint64_t seed)
{
	struct sim_config config = sim_defaults(seed);
	struct sim sim;

	choose_world(&config, seed);
	sim_open(&config, &sim);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		one_operation(&sim);
		/* Nobody waits for something that only control does. */
		if (round % 4 == 0)
			sim_settle_guests(&sim);
	}
	sim_read_all(&sim);
	(void)printf("seed %lu: %lu accesses, %lu operations, %lu poisoned\n", seed,
		fake_accesses(), fake_operations(), sim_stat(&sim, STAT_poisoned_pages));
	sim_close(&sim);
}

int main(int argc, char **argv)
{
	return sim_worlds(argc, argv, 40, one_world);
}
