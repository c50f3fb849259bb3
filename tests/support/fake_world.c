/* SPDX-License-Identifier: Apache-2.0 */
/* Chance, time, failures and scheduling of the fake world. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "queue/base/clock.h"
#include "tests/support/fake_crash.h"
#include "tests/support/fake_priv.h"

/* Scheduling points within which something that control waits for must happen. */
#define PATIENCE 3000000u

struct world world;

/* Linked in place of clock_gettime() by -Wl,--wrap: only in programs with a fake world. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	(void)clock;
	world.now_ns += 40;
	ret_time->tv_sec = (time_t)(world.now_ns / NS_PER_S);
	ret_time->tv_nsec = (long)(world.now_ns % NS_PER_S);
	return 0;
}

/* splitmix64 */
static uint64_t next_random(void)
{
	uint64_t value = world.random += 0x9e3779b97f4a7c15u;

	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return value ^ (value >> 31);
}

uint64_t fake_random(uint64_t below)
{
	ASSERT(below > 0);
	return next_random() % below;
}

bool fake_one_in(uint32_t chance)
{
	return chance > 0 && fake_random(chance) == 0;
}

void fake_fail(const char *format, ...)
{
	va_list arguments;

	(void)fprintf(stderr, "seed %lu, fail_at %lu, operation %lu, tick %lu: ", world.config.seed,
		world.config.fail_at, world.operations, world.tick);
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputc('\n', stderr);
	exit(1);
}

void fake_begin(const struct fake_config *config)
{
	ASSERT(!world.slot);
	memset(&world, 0, sizeof(world));
	world.config = *config;
	world.random = config->seed * 2654435761u + 12345;
	world.now_ns = NS_PER_S;
	for (int i = 0; i < 4; i++)
		(void)next_random();
}

void fake_end(void)
{
	for (uint32_t i = 0; i < world.process_count; i++) {
		(void)close(world.process[i].pidfd);
		for (uint32_t j = 0; j < MEMFDS_MAX; j++)
			free(world.process[i].pte[j]);
	}
	for (uint32_t i = 0; i < world.memfd_count; i++) {
		(void)munmap(world.memfd[i].memory, world.memfd[i].pages * PAGE_BYTES);
		free(world.memfd[i].page);
	}
	if (world.disk)
		(void)munmap(world.disk, world.disk_slots * PAGE_BYTES);
	free(world.slot);
	fake_shared_free();
	fake_fds_forget();
	memset(&world, 0, sizeof(world));
}

struct fake_config *fake_config(void)
{
	return &world.config;
}

void fake_progress(void)
{
	world.progress_tick = world.tick;
}

uint64_t fake_tick(void)
{
	return world.tick;
}

uint64_t fake_operations(void)
{
	return world.operations;
}

uint64_t fake_accesses(void)
{
	return world.accesses;
}

bool fake_fails(enum fake_failure kind, uint32_t ways, uint32_t *ret_how)
{
	world.operations++;
	if (world.operations == world.config.kill_at)
		fake_kill(world.config.kill_process);
	if (world.operations == world.config.fail_at) {
		*ret_how = world.config.fail_how % ways;
		return true;
	}
	if (!fake_one_in(world.config.failure_in[kind]))
		return false;
	*ret_how = world.config.failure_way[kind] > 0 ? (world.config.failure_way[kind] - 1) % ways
						      : (uint32_t)fake_random(ways);
	return true;
}

void fake_crash_point(void)
{
	if (world.is_running)
		return;
	if (world.config.point)
		world.config.point(world.config.sim);
	if (world.config.crash_in == 0 || --world.config.crash_in > 0)
		return;
	world.config.crash(world.config.sim);
	UNREACHABLE();
}

void fake_schedule(void)
{
	if (world.is_running)
		return;
	fake_crash_point();
	world.is_running = true;
	world.tick++;
	world.now_ns += 500 + fake_random(8 * NS_PER_US);
	for (uint64_t i = fake_random(world.config.guest_rate + 1); i > 0; i--)
		fake_thread_step();
	fake_dma_step();
	if (world.tick == world.config.abort_tick && world.config.abort)
		atomic_store(world.config.abort, true);
	if (world.tick % 1024 == 0)
		fake_check_waiting();
	if (world.tick - world.progress_tick > PATIENCE)
		fake_fail("control waits for ever");
	world.is_running = false;
}

void fake_run(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		fake_schedule();
}

void fake_pass(uint64_t ns)
{
	world.now_ns += ns;
	fake_dma_step();
}
