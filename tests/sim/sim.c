/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim.h"

#include <fcntl.h>
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
/* Chunks of one piece at most. */
#define PIECE_MAX 8u
/* Turns within which what was begun must end. */
#define TURNS_MAX 400000u

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
	world.turn_argument = sim;
	fake_begin(&world);
	for (uint32_t i = 0; i < SIM_REGIONS && sim->config.pages[i] > 0; i++) {
		sim->memfd[i] = fake_memfd(sim->config.pages[i]);
		sim->regions++;
	}
}

static void open_vm(struct sim *sim)
{
	struct region_spec region[SIM_REGIONS];
	const struct vm_config config = {
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

int sim_join(struct sim *sim, uint32_t process)
{
	uint64_t address[SIM_REGIONS];
	int uffds[FAKE_SHARDS_MAX];
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
	fake_progress();
	error = vm_process_add(sim->vm, &spec, &index);
	if (error)
		return error;
	ASSERT(index < FAKE_PROCESSES_MAX);
	sim->process[index] = process;
	sim->is_served[index] = true;
	return 0;
}

void sim_leave(struct sim *sim, uint32_t index)
{
	fake_progress();
	vm_process_remove(sim->vm, index);
	sim->is_served[index] = false;
}

void sim_open(const struct sim_config *config, struct sim *sim)
{
	const struct engine_config engine = {
		.shard_count = config->shards,
		.store = {.kind = SWAPFILE_UNNAMED, .path = "/"},
	};
	int error;

	memset(sim, 0, sizeof(*sim));
	sim->config = *config;
	open_world(sim);
	ASSERT(engine_new(&engine, &sim->engine) == 0);
	open_vm(sim);
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

static void zap(struct sim *sim, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < FAKE_PROCESSES_MAX; i++) {
		uint64_t address;
		uint64_t size;

		if (sim->is_served[i] &&
			vm_piece_address(sim->vm, i, first, count, &address, &size) == 0)
			fake_zap(sim->process[i], address, size);
		sim_idle(sim, (uint32_t)fake_random(6));
	}
}

static void pageout(struct sim *sim, uint32_t first, uint32_t count)
{
	uint64_t present[PIECE_MAX * BITMAP_WORDS(CHUNK_PAGES)];
	struct dispatch_result result;
	int error = vm_pageout_piece(sim->vm, first, count);

	sim_idle(sim, (uint32_t)fake_random(4));
	/* A process that dies on the way is zapped by its death. */
	if (!error || error == -ESRCH)
		error = vm_scan_present_piece(sim->vm, first, count, present);
	if (!error)
		error = vm_dispatch(sim->vm, CHUNK_UNSTAGE, first, count, present, NULL, &result);
	if (error && error != -ESRCH)
		fake_fail("pageout: %d", error);
}

static void scan_unwritten(struct sim *sim, uint32_t first, uint32_t count, uint64_t *marked)
{
	uint64_t address;
	uint64_t size;

	memset(marked, 0, count * BITMAP_WORDS(CHUNK_PAGES) * sizeof(*marked));
	if (vm_piece_address(sim->vm, 0, first, count, &address, &size) == 0)
		fake_scan_unwritten(
			sim->process[0], address, (uint32_t)(size / PAGE_BYTES), marked);
}

/* The piece between stage and settle; true when @marked says which pages are clean. */
static bool zap_piece(
	struct sim *sim, enum sim_enable how, uint32_t first, uint32_t count, uint64_t *marked)
{
	bool has_marks = false;

	if (how == SIM_SCAN_BEFORE_ZAP) {
		scan_unwritten(sim, first, count, marked);
		sim_idle(sim, (uint32_t)fake_random(4));
		zap(sim, first, count);
		return true;
	}
	if (how == SIM_SETTLE_BLINDLY) {
		zap(sim, first, count);
		memset(marked, 0xff, count * BITMAP_WORDS(CHUNK_PAGES) * sizeof(*marked));
		return true;
	}
	if (how == SIM_PAGEOUT)
		pageout(sim, first, count);
	else if (how != SIM_WITHOUT_ZAP)
		zap(sim, first, count);
	if (how != SIM_WITHOUT_SCAN)
		has_marks = vm_scan_piece(sim->vm, first, count, marked) == 0;
	sim_idle(sim, (uint32_t)fake_random(4));
	return has_marks;
}

static void enable_piece(struct sim *sim, enum sim_enable how, uint32_t first, uint32_t count)
{
	uint64_t marked[PIECE_MAX * BITMAP_WORDS(CHUNK_PAGES)];
	struct dispatch_result result;
	bool has_marks;

	sim_idle(sim, (uint32_t)fake_random(4));
	has_marks = zap_piece(sim, how, first, count, marked);
	if (how == SIM_WITHOUT_SETTLE)
		return;
	if (vm_dispatch(sim->vm, CHUNK_SETTLE, first, count, has_marks ? marked : NULL, NULL,
		    &result) != 0)
		fake_fail("settle failed");
}

uint64_t sim_enable(struct sim *sim, enum sim_enable how, uint32_t first, uint32_t count)
{
	const uint32_t end = first + count;
	uint64_t staged = 0;
	uint32_t pieces = 0;

	while (vm_next_piece(sim->vm, first, PIECE_MAX, &first, &count) == 0 && first < end) {
		struct dispatch_result result;

		fake_progress();
		count = MIN(count, end - first);
		ASSERT(vm_dispatch(sim->vm, CHUNK_STAGE, first, count, NULL, NULL, &result) == 0);
		staged += result.pages;
		enable_piece(sim, how, first, count);
		first += count;
		if (++pieces % 4 == 0)
			sim_check(sim);
	}
	sim_check(sim);
	return staged;
}

int sim_dispatch(struct sim *sim, enum chunk_op op, uint32_t first, uint32_t count,
	struct dispatch_result *ret_result)
{
	int error;

	fake_progress();
	error = vm_dispatch(sim->vm, op, first, count, NULL, &sim->control, ret_result);
	sim_check(sim);
	return error;
}

struct dispatch_result sim_all(struct sim *sim, enum chunk_op op)
{
	struct dispatch_result result;
	const int error = sim_dispatch(sim, op, 0, vm_chunk_count(sim->vm), &result);

	if (error)
		fake_fail("operation %d: %d", (int)op, error);
	return result;
}

void sim_all_in(struct sim *sim)
{
	const struct dispatch_result result = sim_all(sim, CHUNK_IN);
	const struct page_count count = sim_pages(sim);

	if (count.state[PAGE_SWAPPED] > 0)
		fake_fail("%lu pages stay out, error %d", count.state[PAGE_SWAPPED], result.error);
}

static void take_events(struct sim *sim)
{
	struct engine_event event;

	while (engine_next_event(sim->engine, &event)) {
		ASSERT(event.vm == sim->vm);
		sim->events[event.kind]++;
	}
}

static bool is_quiet(const struct sim *sim)
{
	for (uint32_t i = 0; i < sim->engine->shard_count; i++)
		if (sim->engine->shard[i].tasks_active > 0)
			return false;
	return true;
}

static void check_slots(const struct sim *sim, const struct page_count *count)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < sim->engine->shard_count; i++) {
		slots_check(sim->engine->shard[i].slots);
		used += slots_used(sim->engine->shard[i].slots);
	}
	/* Slots of pages, and of writes in flight whose page left meanwhile. */
	if (used < count->slots || (is_quiet(sim) && used != count->slots))
		fake_fail("LEAK: %lu slots are used, pages have %lu", used, count->slots);
}

static void check_gauges(const struct sim *sim, const struct page_count *count)
{
	const uint64_t staged = count->state[PAGE_STAGED] + count->state[PAGE_WRITING];
	struct vm_stats stats;

	if (!vm_is_registered(sim->vm))
		return;
	vm_stats_read(sim->vm, &stats);
	if (stats.resident_pages + stats.staging_pages + stats.swap_pages + stats.zero_pages !=
		vm_pages(sim->vm))
		fake_fail("the sum of the places is not the number of pages");
	if (stats.staging_pages != staged || stats.resident_pages != count->state[PAGE_RESIDENT])
		fake_fail("%lu staged, %lu resident, but the gauges say %lu, %lu", staged,
			count->state[PAGE_RESIDENT], stats.staging_pages, stats.resident_pages);
}

/* A page may be given up only where the disk lost it. */
static void check_poison(const struct sim *sim)
{
	for (uint64_t page = 0; page < sim->vm->table.page_count; page++) {
		const page_word word = page_load(&sim->vm->table, page);

		if (page_state_of(word) == PAGE_POISONED && !fake_slot_is_lost(page_slot_of(word)))
			fake_fail("LOSS: page %lu is poisoned, but slot %u is good", page,
				page_slot_of(word));
	}
}

void sim_check(struct sim *sim)
{
	const struct page_count count = sim_pages(sim);

	take_events(sim);
	check_slots(sim, &count);
	check_gauges(sim, &count);
	if (count.state[PAGE_POISONED] > 0)
		check_poison(sim);
}

struct page_count sim_pages(const struct sim *sim)
{
	struct page_count count;

	page_table_check(&sim->vm->table, &count);
	return count;
}

enum page_state sim_state(const struct sim *sim, uint64_t page)
{
	return page_state_of(page_load(&sim->vm->table, page));
}

uint64_t sim_stat(const struct sim *sim, enum counter stat)
{
	struct vm_stats stats;

	vm_stats_read(sim->vm, &stats);
	return stats.count[stat];
}

static void free_all(struct sim *sim)
{
	vm_free(sim->vm);
	for (uint32_t i = 0; i < sim->engine->shard_count; i++)
		if (slots_used(sim->engine->shard[i].slots) != 0)
			fake_fail("LEAK: slots are used after the VM is gone");
	engine_stop(sim->engine);
	for (uint32_t i = 0; i < sim->regions; i++)
		(void)close(sim->memfd[i]);
	fake_end();
}

/* After we have left, a lost page must go on being an error everywhere, not become zeros. */
static void check_poison_stays(const struct sim *sim)
{
	const struct vm *vm = sim->vm;

	for (uint64_t page = 0; page < vm->table.page_count; page++) {
		const struct region *region =
			vm_region_of_chunk(vm, (uint32_t)(page / CHUNK_PAGES));
		const uint64_t address =
			sim_address((uint32_t)(region - vm->region)) + vm_file_offset(vm, page);

		if (sim_state(sim, page) != PAGE_POISONED)
			continue;
		for (uint32_t i = 0; i < FAKE_PROCESSES_MAX; i++)
			if (sim->is_served[i] && !fake_is_poisoned(sim->process[i], address))
				fake_fail("LOSS: page %lu was lost and is no error in process %u",
					page, i);
	}
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
	check_poison_stays(sim);
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
	take_events(sim);
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
