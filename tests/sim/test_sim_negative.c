/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Negative controls: each breaks one rule of the design, from the outside or by a world that
 * behaves as a broken engine would, and the checker must find it out. With the rule kept, the same
 * runs must pass. So a checker that sees nothing fails here.
 *
 *   test_sim_negative [SEED]   loud, one seed only
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/base/clock.h"
#include "tests/sim/sim.h"

#define CYCLES 14u
#define SEEDS  8u

struct variant {
	const char *rule;
	enum sim_enable how;
	enum fake_lie lie;
	uint32_t dma_in;
	uint32_t dwell_ms;
	bool verify_clean;
	bool has_stranger; /* a process that maps the memory and is not attached */
	bool must_pass;
};

static const struct variant variants[] = {
	{.rule = "all rules kept, clean pages trusted", .must_pass = true},
	{.rule = "all rules kept, clean pages verified", .verify_clean = true, .must_pass = true},
	{.rule = "DMA within the dwell", .dma_in = 8, .dwell_ms = 20, .must_pass = true},
	{.rule = "DMA without a dwell", .dma_in = 8},
	{.rule = "no zap", .how = SIM_WITHOUT_ZAP, .verify_clean = true},
	{.rule = "scan before the zap, trusted", .how = SIM_SCAN_BEFORE_ZAP},
	{.rule = "scan before the zap, verified",
		.how = SIM_SCAN_BEFORE_ZAP,
		.verify_clean = true,
		.must_pass = true},
	{.rule = "marks armed on unsettled pages, trusted", .how = SIM_SETTLE_BLINDLY},
	{.rule = "marks armed on unsettled pages, verified",
		.how = SIM_SETTLE_BLINDLY,
		.verify_clean = true,
		.must_pass = true},
	{.rule = "punch before write", .lie = FAKE_WRITES_LATE, .verify_clean = true},
	{.rule = "wake-ups lost", .lie = FAKE_WAKES_NONE, .verify_clean = true},
	{.rule = "a mapper that is not attached", .verify_clean = true, .has_stranger = true},
};

static const struct variant *variant;

static void add_stranger(struct sim *sim)
{
	const uint32_t process = fake_process();

	fake_map(process, sim->memfd[0], sim_address(0));
	fake_threads(process, 2);
}

static void move_out(struct sim *sim)
{
	struct dispatch_result result = sim_all(sim, CHUNK_OUT);

	if (result.next_ready_ns == 0)
		return;
	/* The dwell passes with guests running, some of whose DMA lands meanwhile. */
	while (clock_ns() < result.next_ready_ns)
		sim_idle(sim, 20);
	(void)sim_all(sim, CHUNK_OUT);
}

static void one_cycle(struct sim *sim, uint32_t cycle)
{
	const bool is_blind = variant->how == SIM_SETTLE_BLINDLY;

	/* Nothing moves out in a blind cycle: only the marks that its faults arm do harm, later. */
	if (is_blind && cycle % 2 == 0) {
		(void)sim_enable(sim, SIM_SETTLE_BLINDLY, 0, vm_chunk_count(sim->vm));
	} else {
		(void)sim_enable(
			sim, is_blind ? SIM_RIGHT : variant->how, 0, vm_chunk_count(sim->vm));
		move_out(sim);
	}
	sim_idle(sim, 400);
}

static void run(uint64_t seed)
{
	struct sim_config config = sim_defaults(seed);
	struct sim sim;

	config.verify_clean = variant->verify_clean;
	config.dwell_ms = variant->dwell_ms;
	config.world.guest_rate = 12;
	config.world.lie = variant->lie;
	config.world.dma_in = variant->dma_in;
	config.world.dma_ns = 15 * NS_PER_MS;
	sim_open(&config, &sim);
	if (variant->has_stranger)
		add_stranger(&sim);
	for (uint32_t cycle = 0; cycle < CYCLES; cycle++)
		one_cycle(&sim, cycle);
	sim_read_all(&sim);
	sim_close(&sim);
}

/* True when the variant ended as it must. */
static bool judge(void)
{
	uint32_t caught = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		const int code = sim_child(run, seed, !variant->must_pass);

		caught += code == 1;
		if (code > 1 || (variant->must_pass && code != 0)) {
			(void)fprintf(
				stderr, "%s: seed %lu ends with %d\n", variant->rule, seed, code);
			return false;
		}
	}
	(void)printf("%-42s %s: found out in %u of %u runs\n", variant->rule,
		variant->must_pass ? "kept" : "broken", caught, SEEDS);
	return variant->must_pass || caught > 0;
}

int main(int argc, char **argv)
{
	bool is_right = true;

	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		variant = &variants[i];
		if (argc > 1)
			(void)sim_child(run, strtoull(argv[1], NULL, 0), false);
		else if (!judge())
			is_right = false;
	}
	return !is_right;
}
