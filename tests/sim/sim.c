/* SPDX-License-Identifier: Apache-2.0 */
/* Worlds begin and end here. */
#include "tests/sim/sim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/slots.h"
#include "io/uffd.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define REGION_ADDRESS(region) (0x7f0000000000u + ((uint64_t)(region) << 32))

struct sim_config sim_defaults(uint64_t seed)
{
	return (struct sim_config){
		.seed = seed,
		.shards = 1,
		.processes = 1,
		.threads = 4,
		.pages = {CHUNK_PAGES + 40},
		.verify_clean = true,
		.world = {.guest_rate = 3, .delay = 3, .dma_ns = NS_PER_MS},
	};
}

uint64_t sim_address(uint32_t region)
{
	return REGION_ADDRESS(region);
}

static void turn(void *argument)
{
	sim_turn(argument);
}

static void check(void *argument)
{
	const struct sim *sim = argument;

	/* Nothing adds up before the last shard of a successor has adopted its pages. */
	if (sim->vm && sim->engine->adopted_count == 0)
		sim_check_tables(sim);
}

static void open_world(struct sim *sim)
{
	struct fake_config world = sim->config.world;
	uint64_t pages = 0;

	for (uint32_t i = 0; i < SIM_REGIONS; i++)
		pages += sim->config.pages[i];
	world.seed = sim->config.seed;
	if (world.features == 0)
		world.features = SIM_FEATURES;
	if (world.disk_bytes == 0)
		world.disk_bytes = (pages / CHUNK_PAGES + 4) * CHUNK_BYTES * sim->config.shards;
	world.turn = turn;
	world.check = check;
	world.sim = sim;
	fake_begin(&world);
	for (uint32_t i = 0; i < SIM_REGIONS && sim->config.pages[i] > 0; i++) {
		sim->memfd[i] = fake_memfd(sim->config.pages[i]);
		sim->regions++;
	}
}

static void open_vm(struct sim *sim, const int *parts)
{
	struct region_spec region[SIM_REGIONS];
	const struct vm_config config = {
		.parts = parts,
		.regions = region,
		.region_count = sim->regions,
		.dwell_ms = sim->config.dwell_ms,
		.trust_discard = sim->config.trust_discard,
		.verify_clean = sim->config.verify_clean,
	};

	for (uint32_t i = 0; i < sim->regions; i++)
		region[i] = (struct region_spec){
			.memfd = sim->memfd[i],
			.size_bytes = sim->config.pages[i] * PAGE_BYTES,
		};
	ASSERT(vm_new(sim->engine, &config, &sim->vm) == 0);
}

uint32_t sim_process(struct sim *sim)
{
	const uint32_t process = fake_process();

	for (uint32_t region = 0; region < sim->regions; region++)
		fake_map(process, sim->memfd[region], sim_address(region));
	sim->processes++;
	return process;
}

static void close_all(const int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		(void)close(fds[i]);
}

int sim_join(struct sim *sim, uint32_t process)
{
	uint64_t address[SIM_REGIONS];
	int uffds[FAKE_SHARDS_MAX];
	int copies[FAKE_SHARDS_MAX];
	struct process_spec spec = {
		.pid = fake_process_pid(process),
		.pidfd = fake_process_pidfd(process),
		.address = address,
		.uffds = uffds,
	};
	uint32_t index;
	int error;

	for (uint32_t i = 0; i < sim->regions; i++)
		address[i] = sim_address(i);
	for (uint32_t i = 0; i < sim->config.shards; i++)
		uffds[i] = fake_uffd(process);
	for (uint32_t i = 0; i < sim->config.shards; i++)
		copies[i] = dup(uffds[i]);
	fake_progress();
	error = vm_process_add(sim->vm, &spec, &index);
	if (error) {
		close_all(copies, sim->config.shards);
		return error;
	}
	ASSERT(index < FAKE_PROCESSES_MAX);
	memcpy(sim->uffd[process], copies, sizeof(copies));
	sim->is_joined[process] = true;
	sim->process[index] = process;
	sim->is_served[index] = true;
	return 0;
}

static void adopt_process(struct sim *sim, uint32_t process)
{
	uint64_t address[SIM_REGIONS];
	int uffds[FAKE_SHARDS_MAX];
	const struct process_spec spec = {
		.pid = fake_process_pid(process),
		.pidfd = fake_process_pidfd(process),
		.address = address,
		.uffds = uffds,
		.runs = sim->has_runs[process] ? sim->run[process] : NULL,
		.run_count = sim->run_count[process],
	};
	uint32_t index;

	for (uint32_t i = 0; i < sim->regions; i++)
		address[i] = sim_address(i);
	for (uint32_t i = 0; i < sim->config.shards; i++)
		uffds[i] = dup(sim->uffd[process][i]);
	ASSERT(vm_process_adopt(sim->vm, &spec, &index) == 0);
	sim->process[index] = process;
	sim->is_served[index] = true;
}

int sim_adopt(struct sim *sim)
{
	const struct engine_config engine = {
		.shard_count = sim->config.shards,
		.store = {.kind = SWAPFILE_UNNAMED, .path = "/"},
		.parts = sim->engine_fd,
	};

	fake_progress();
	memset(sim->is_served, 0, sizeof(sim->is_served));
	ASSERT(engine_new(&engine, &sim->engine) == 0);
	open_vm(sim, sim->vm_fd);
	return engine_resume(sim->engine, &sim->vm, 1);
}

void sim_adopt_processes(struct sim *sim)
{
	for (uint32_t i = 0; i < FAKE_PROCESSES_MAX; i++)
		if (sim->is_joined[i])
			adopt_process(sim, i);
}

void sim_resume(struct sim *sim)
{
	sim_adopt_processes(sim);
	ASSERT(vm_resume(sim->vm) == 0);
	ASSERT(engine_settle(sim->engine) == 0);
	sim_check(sim);
}

void sim_recover(struct sim *sim)
{
	ASSERT(sim_adopt(sim) == 0);
	sim_resume(sim);
}

void sim_leave(struct sim *sim, uint32_t index)
{
	fake_progress();
	vm_process_remove(sim->vm, index);
	sim->is_joined[sim->process[index]] = false;
	close_all(sim->uffd[sim->process[index]], sim->config.shards);
	sim->is_served[index] = false;
}

void sim_open(const struct sim_config *config, struct sim *sim)
{
	const struct engine_config engine = {
		.shard_count = config->shards,
		.store = {.kind = SWAPFILE_UNNAMED, .path = "/"},
		.is_encrypted = config->is_encrypted,
	};
	int error;

	memset(sim, 0, sizeof(*sim));
	sim->config = *config;
	open_world(sim);
	ASSERT(engine_new(&engine, &sim->engine) == 0);
	open_vm(sim, NULL);
	engine_parts(sim->engine, sim->engine_fd);
	vm_parts(sim->vm, sim->vm_fd);
	for (uint32_t i = 0; i < config->processes; i++) {
		const uint32_t process = sim_process(sim);

		fake_threads(process, config->threads);
		ASSERT(sim_join(sim, process) == 0);
	}
	fake_run(200); /* memory from before the VM is registered */
	error = vm_register(sim->vm);
	if (error)
		fake_fail("vm_register: %d", error);
	sim_check(sim);
}

static void free_all(struct sim *sim)
{
	fake_config()->check = NULL;
	vm_free(sim->vm);
	for (uint32_t i = 0; i < sim->engine->shard_count; i++)
		if (slots_used(sim->engine->shard[i].slots) != 0)
			fake_fail("LEAK: slots are used after the VM is gone");
	engine_stop(sim->engine);
	for (uint32_t i = 0; i < sim->regions; i++)
		(void)close(sim->memfd[i]);
	fake_end();
}

void sim_close(struct sim *sim)
{
	int error;

	atomic_store(&sim->control.abort, false);
	sim_all_in(sim);
	sim_settle_guests(sim);
	sim_all_in(sim);
	(void)sim_all(sim, CHUNK_RELEASE);
	error = vm_unregister(sim->vm);
	if (error)
		fake_fail("vm_unregister: %d", error);
	sim_check_poison_stays(sim);
	fake_run(100);
	fake_pass(NS_PER_S); /* the last DMA lands */
	for (uint32_t i = 0; i < FAKE_PROCESSES_MAX; i++)
		if (sim->is_served[i])
			sim_leave(sim, i);
	fake_verify();
	free_all(sim);
}

void sim_abandon(struct sim *sim)
{
	ASSERT(vm_process_count(sim->vm) == 0);
	sim_take_events(sim);
	free_all(sim);
}

int sim_child(void (*body)(uint64_t), uint64_t argument, bool is_quiet_child)
{
	int status;
	pid_t child;

	(void)fflush(NULL);
	child = fork();
	ASSERT(child >= 0);
	if (child == 0) {
		const int null = is_quiet_child ? open("/dev/null", O_WRONLY) : -1;

		if (null >= 0)
			(void)dup2(null, STDERR_FILENO);
		body(argument);
		exit(0);
	}
	ASSERT(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

int sim_worlds(int argc, char **argv, uint64_t count, void (*one_world)(uint64_t seed))
{
	const uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	const uint64_t end = first + (argc > 2 ? strtoull(argv[2], NULL, 0) : count);
	uint64_t failed = 0;

	for (uint64_t seed = first; seed < end; seed++) {
		const int code = sim_child(one_world, seed, false);

		if (code != 0) {
			(void)fprintf(stderr, "seed %lu ends with %d\n", seed, code);
			failed++;
		}
	}
	return failed > 0;
}
