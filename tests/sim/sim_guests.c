/* SPDX-License-Identifier: Apache-2.0 */
/* The turns of the engine, and guests that are driven by hand. */
#include "queue/base/bits.h"
#include "tests/sim/sim.h"

/* Turns within which what was begun must end. */
#define TURNS_MAX 400000u

void sim_turn(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->engine->shard_count; i++)
		(void)shard_step(&sim->engine->shard[i]);
}

void sim_idle(struct sim *sim, uint32_t turns)
{
	fake_progress();
	for (uint32_t i = 0; i < turns; i++)
		sim_turn(sim);
}

bool sim_touch(struct sim *sim, uint32_t process, uint64_t page, bool is_write)
{
	const uint64_t poisoned = fake_poisoned();

	if (!fake_touch(sim->process[process], sim_address(0) + page * PAGE_BYTES, is_write))
		sim_settle_guests(sim);
	return fake_poisoned() == poisoned;
}

void sim_write(struct sim *sim, uint64_t count)
{
	for (uint64_t page = 0; page < count; page++)
		(void)sim_touch(sim, 0, page, true);
}

struct dispatch_result sim_out(struct sim *sim)
{
	(void)sim_enable(sim, SIM_RIGHT, 0, vm_chunk_count(sim->vm));
	return sim_all(sim, CHUNK_OUT);
}

void sim_settle_guests(struct sim *sim)
{
	fake_pause(true);
	fake_progress();
	for (uint32_t i = 0; i < TURNS_MAX && fake_blocked() > 0; i++)
		sim_turn(sim);
	if (fake_blocked() > 0)
		fake_fail("HANG: %u guests wait though nothing else happens", fake_blocked());
	sim_idle(sim, 50);
	fake_pause(false);
}

void sim_read_all(struct sim *sim)
{
	for (uint32_t i = 0; i < FAKE_PROCESSES_MAX; i++)
		if (sim->is_served[i])
			fake_sweep(sim->process[i]);
	fake_progress();
	for (uint32_t i = 0; i < TURNS_MAX && fake_sweeps() > 0; i++)
		sim_turn(sim);
	if (fake_sweeps() > 0)
		fake_fail("HANG: reading everything does not end");
	sim_check(sim);
}
