/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One full cycle (enable, out, fault, in, enable, out of clean pages, in, release) in which the
 * n-th operation of io fails, for each n until a run has no n-th operation, in each way it can
 * fail; and in which a process dies with the n-th operation. Whatever fails: no content is lost,
 * no guest waits for ever, no slot leaks, and in the end everything is back in RAM.
 *
 *   test_sim_failures [WAY N]   one run
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/sim/sim.h"

#define WAYS 4u
/* Ways beyond: one of two processes dies; the only one dies. */
#define WAY_ONE_OF_TWO	WAYS
#define WAY_THE_ONLY	(WAYS + 1)
#define WAYS_WITH_DEATH (WAYS + 2)

/* Exit codes of a child: passed and met its operation, or did not come to it. */
#define MET	0
#define NOT_MET 3
/* Runs of one child. */
#define BATCH 32u
/* The second one meets clean pages. */
#define CYCLES 2u

static uint32_t way;
static bool met = true;

static void bury(struct sim *sim)
{
	if (way >= WAYS && sim->is_served[0] && fake_is_dead(sim->process[0]))
		sim_leave(sim, 0);
}

static void dispatch(struct sim *sim, enum chunk_op op)
{
	(void)sim_all(sim, op);
	bury(sim);
}

static void cycle(struct sim *sim)
{
	struct dispatch_result result;

	(void)sim_enable(sim, SIM_RIGHT, 0, vm_chunk_count(sim->vm));
	bury(sim);
	dispatch(sim, CHUNK_TRIM);
	dispatch(sim, CHUNK_OUT);
	sim_idle(sim, 60);
	if (sim_dispatch(sim, CHUNK_IN, 0, 1, &result) != 0)
		fake_fail("the first chunk does not come in");
	bury(sim);
}

static void run(uint64_t n)
{
	struct sim_config config = sim_defaults(7);
	uint64_t operations;
	struct sim sim;

	config.shards = way == 0 ? 2 : 1;
	config.processes = way == WAY_ONE_OF_TWO ? 2 : 1;
	config.threads = 2;
	config.pages[0] = 70;
	config.pages[1] = 30;
	config.world.guest_rate = 2;
	config.world.delay = 2;
	if (way >= WAYS)
		config.world.kill_at = n;
	else
		config.world.fail_at = n;
	config.world.fail_how = way;
	sim_open(&config, &sim);
	for (uint32_t i = 0; i < CYCLES; i++)
		cycle(&sim);
	sim_idle(&sim, 10);
	operations = fake_operations();
	fake_config()->kill_at = 0;
	bury(&sim);
	if (vm_process_count(sim.vm) > 0) {
		sim_read_all(&sim);
		sim_close(&sim);
	} else {
		sim_abandon(&sim);
	}
	met = operations >= n;
}

/* A child runs several: making one is the dearest part. */
static void run_batch(uint64_t first)
{
	for (uint64_t n = first; n < first + BATCH && met; n++)
		run(n);
	if (!met)
		exit(NOT_MET);
}

int main(int argc, char **argv)
{
	uint64_t failed = 0;

	if (argc > 2) {
		way = (uint32_t)strtoul(argv[1], NULL, 0);
		run(strtoull(argv[2], NULL, 0));
		return 0;
	}
	for (way = 0; way < WAYS_WITH_DEATH; way++) {
		uint64_t n = 1;
		int code = MET;

		for (; code != NOT_MET && failed < 10; n += BATCH) {
			code = sim_child(run_batch, n, false);
			if (code == MET || code == NOT_MET)
				continue;
			(void)fprintf(stderr, "way %u, from operation %lu on: ends with %d\n", way,
				n, code);
			failed++;
		}
		(void)printf("way %u: up to operation %lu\n", way, n - 1);
	}
	return failed > 0;
}
