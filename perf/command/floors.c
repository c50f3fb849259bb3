/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/command/floors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/bench/trial.h"
#include "perf/floor/disk.h"
#include "perf/floor/memory.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define FILE_BYTES  (512 * MIB)
#define PIECE_BYTES (2 * MIB)
/* At which 2 MiB pieces saturate the disk. */
#define PIECE_DEPTH  4u
#define MEMORY_BYTES (256 * MIB)

static struct floor_disk_job job_of(const struct floor_disk_trial *floor, uint32_t round)
{
	return (struct floor_disk_job){
		.kind = floor->kind,
		.fd = floor->fd,
		.size_bytes = FILE_BYTES,
		.piece_bytes = floor->kind == FLOOR_DISK_RANDOM_READ ? PAGE_BYTES : PIECE_BYTES,
		.depth = floor->depth,
		.pieces = floor->count,
		.cpu = floor->cpu,
		.seed = round + 1,
	};
}

static int floor_failed(struct duel_side *side, int error)
{
	return contestant_fail(&side->contestant, error, "%s: %s", side->name, strerror(-error));
}

static int trial_random_read(struct duel_side *side, uint32_t round)
{
	const struct floor_disk_job job = job_of(side->argument, round);
	struct floor_disk_result result;
	const int error = floor_disk_run(&job, &result);

	if (error < 0)
		return floor_failed(side, error);
	percentiles_prepare(result.latency_ns, result.samples);
	side->value[TOUCH_P50][round] =
		percentile_of(result.latency_ns, result.samples, 0.5) / 1000;
	side->value[TOUCH_P99][round] =
		percentile_of(result.latency_ns, result.samples, 0.99) / 1000;
	side->value[TOUCH_RATE][round] = floor_disk_iops(&result);
	free(result.latency_ns);
	return 0;
}

static int trial_stream(struct duel_side *side, uint32_t round)
{
	const struct floor_disk_job job = job_of(side->argument, round);
	struct floor_disk_result result;
	const int error = floor_disk_run(&job, &result);

	if (error < 0)
		return floor_failed(side, error);
	side->value[BULK_RATE][round] = floor_disk_gb_per_s(&result);
	free(result.latency_ns);
	return 0;
}

/* Says once what fio makes of the same job; the floor is to be none of our making. */
static void cross_check(const struct duel *duel, const struct floor_disk_trial *floor)
{
	const struct floor_disk_job job = job_of(floor, 0);
	struct floor_disk_fio fio;
	const int error = floor_disk_fio_check(&job, &fio);

	if (error < 0)
		bench_skip(duel->bench, "fio",
			error == -ENOENT ? "it is not installed" : strerror(-error));
	else
		(void)printf("%-16s fio says: %.0f IOPS, %.2f GB/s, p50 %.1f us\n", floor->name,
			fio.iops, fio.gb_per_s, (double)fio.p50_ns / 1000);
}

static void add(struct duel *duel, struct floor_disk_trial *floor, duel_trial *trial)
{
	const int error = floor_disk_open(duel->bench->options.directory, FILE_BYTES, &floor->fd);
	struct duel_side *side = duel_add_floor(duel, floor->name, trial, floor);

	if (error < 0) {
		floor->fd = -1;
		side->is_out = true;
		bench_skip(duel->bench, floor->name, strerror(-error));
	} else if (duel->bench->options.has_fio) {
		cross_check(duel, floor);
	}
}

void floors_add_random_read(
	struct duel *duel, struct floor_disk_trial *floor, uint32_t depth, uint64_t count, int cpu)
{
	*floor = (struct floor_disk_trial){
		.kind = FLOOR_DISK_RANDOM_READ,
		.depth = depth,
		.count = MIN(count, FILE_BYTES / PAGE_BYTES),
		.cpu = cpu,
	};
	(void)snprintf(floor->name, sizeof(floor->name), "disk-read-qd%u", depth);
	add(duel, floor, trial_random_read);
}

static void add_stream(struct duel *duel, struct floor_disk_trial *floor, enum floor_disk_kind kind,
	const char *name)
{
	*floor = (struct floor_disk_trial){
		.kind = kind,
		.depth = PIECE_DEPTH,
		.count = FILE_BYTES / PIECE_BYTES,
		.cpu = FLOOR_ANY_CPU,
	};
	(void)snprintf(floor->name, sizeof(floor->name), "%s", name);
	add(duel, floor, trial_stream);
}

void floors_add_write(struct duel *duel, struct floor_disk_trial *floor)
{
	add_stream(duel, floor, FLOOR_DISK_WRITE, "disk-write");
}

void floors_add_read(struct duel *duel, struct floor_disk_trial *floor)
{
	add_stream(duel, floor, FLOOR_DISK_READ, "disk-read");
}

static int trial_memory_read(struct duel_side *side, uint32_t round)
{
	const struct floor_memory_job job = {
		.size_bytes = MEMORY_BYTES,
		.passes = 2,
		.cpu = FLOOR_ANY_CPU,
	};
	struct floor_memory_result result;
	const int error = floor_memory_read(&job, &result);

	if (error < 0)
		return floor_failed(side, error);
	side->value[BULK_RATE][round] = floor_memory_gb_per_s(&result);
	return 0;
}

void floors_add_memory_read(struct duel *duel)
{
	(void)duel_add_floor(duel, FLOOR_MEMORY_READ, trial_memory_read, NULL);
}

void floors_close(struct floor_disk_trial *floor)
{
	close_fd(floor->fd);
	floor->fd = -1;
}
