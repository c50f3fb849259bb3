/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's floors give figures that can be, and refuse files that would give wrong ones. */
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "../support/check.h"
#include "perf/floor/disk.h"
#include "perf/floor/memory.h"
#include "queue/base/bits.h"

#define DIRECTORY  "/var/tmp"
#define FILE_BYTES (8 * CHUNK_BYTES)
#define NO_CPU	   1000

static void run(const struct floor_disk_job *job)
{
	struct floor_disk_result result;

	CHECK(floor_disk_run(job, &result) == 0);

	CHECK(result.samples == job->pieces);
	CHECK(result.bytes == job->pieces * job->piece_bytes);
	CHECK(floor_disk_iops(&result) > 0);
	CHECK(floor_disk_gb_per_s(&result) > 0);
	for (uint64_t i = 0; i < result.samples; i++) {
		CHECK(result.latency_ns[i] > 0);
		CHECK(result.latency_ns[i] <= result.elapsed_ns);
	}
	free(result.latency_ns);
}

static void check_random_reads(int fd)
{
	static const uint32_t depths[] = {1, 8, 32};

	for (size_t i = 0; i < ARRAY_SIZE(depths); i++)
		run(&(struct floor_disk_job){
			.kind = FLOOR_DISK_RANDOM_READ,
			.fd = fd,
			.size_bytes = FILE_BYTES,
			.piece_bytes = (uint32_t)PAGE_BYTES,
			.depth = depths[i],
			.pieces = 512,
			.cpu = i == 0 ? 0 : FLOOR_ANY_CPU,
			.seed = i,
		});
}

/* Twice over the file: the second round begins at its start again. */
static void check_streams(int fd)
{
	static const uint32_t piece_bytes[] = {512 * KIB, 2 * MIB};
	static const enum floor_disk_kind kinds[] = {FLOOR_DISK_WRITE, FLOOR_DISK_READ};

	for (size_t i = 0; i < ARRAY_SIZE(piece_bytes) * ARRAY_SIZE(kinds); i++)
		run(&(struct floor_disk_job){
			.kind = kinds[i % 2],
			.fd = fd,
			.size_bytes = FILE_BYTES,
			.piece_bytes = piece_bytes[i / 2],
			.depth = 4,
			.pieces = 2 * FILE_BYTES / piece_bytes[i / 2],
			.cpu = FLOOR_ANY_CPU,
		});
}

static int run_on(int fd, uint64_t size_bytes, int cpu)
{
	struct floor_disk_result result;

	return floor_disk_run(
		&(struct floor_disk_job){
			.kind = FLOOR_DISK_READ,
			.fd = fd,
			.size_bytes = size_bytes,
			.piece_bytes = (uint32_t)PAGE_BYTES,
			.depth = 1,
			.pieces = 1,
			.cpu = cpu,
		},
		&result);
}

static void check_refusals(int fd)
{
	const int sparse = open(DIRECTORY, O_TMPFILE | O_RDWR | O_DIRECT, 0600);
	const int buffered = open(DIRECTORY, O_TMPFILE | O_RDWR, 0600);

	CHECK(ftruncate(sparse, FILE_BYTES) == 0);
	CHECK(ftruncate(buffered, FILE_BYTES) == 0);

	CHECK(run_on(fd, FILE_BYTES + 1, FLOOR_ANY_CPU) == -EINVAL);
	CHECK(run_on(buffered, FILE_BYTES, FLOOR_ANY_CPU) == -EINVAL);
	CHECK(run_on(sparse, FILE_BYTES, FLOOR_ANY_CPU) == -ENODATA);
	CHECK(fallocate(sparse, 0, 0, FILE_BYTES) == 0);
	CHECK(run_on(sparse, FILE_BYTES, FLOOR_ANY_CPU) == -ENODATA);
	CHECK(run_on(fd, FILE_BYTES, NO_CPU) == -EINVAL);

	(void)close(sparse);
	(void)close(buffered);
}

static void check_fio(int fd)
{
	const struct floor_disk_job job = {
		.kind = FLOOR_DISK_RANDOM_READ,
		.fd = fd,
		.size_bytes = FILE_BYTES,
		.piece_bytes = (uint32_t)PAGE_BYTES,
		.depth = 8,
		.pieces = 1024,
		.cpu = 0,
	};
	struct floor_disk_fio fio;
	const int error = floor_disk_fio_check(&job, &fio);

	if (error == -ENOENT) {
		(void)puts("no fio: its check is left out");
		return;
	}
	CHECK(error == 0);
	CHECK(fio.iops > 0);
	CHECK(fio.gb_per_s > 0);
	CHECK(fio.p50_ns > 0);
	CHECK(fio.p50_ns <= fio.p99_ns);
}

static void check_memory(void)
{
	static int (*const floors[])(
		const struct floor_memory_job *, struct floor_memory_result *) = {
		floor_memory_read, floor_memory_copy, floor_memory_zero_scan, floor_memory_digest};
	struct floor_memory_job job = {.size_bytes = 8 * MIB, .passes = 2};
	struct floor_memory_result result;

	for (size_t i = 0; i < ARRAY_SIZE(floors); i++) {
		job.cpu = 0;
		CHECK(floors[i](&job, &result) == 0);
		CHECK(result.bytes == 16 * MIB);
		CHECK(floor_memory_gb_per_s(&result) > 0);

		job.cpu = NO_CPU;
		CHECK(floors[i](&job, &result) == -EINVAL);
	}
}

int main(void)
{
	cpu_set_t before;
	cpu_set_t after;
	int fd;
	const int error = floor_disk_open(DIRECTORY, FILE_BYTES, &fd);

	CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
	check_memory();
	if (error == -EOPNOTSUPP) {
		(void)puts("skipped: " DIRECTORY " has no O_DIRECT");
		return 77;
	}
	CHECK(error == 0);
	check_random_reads(fd);
	check_streams(fd);
	check_refusals(fd);
	check_fio(fd);

	CHECK(sched_getaffinity(0, sizeof(after), &after) == 0);
	CHECK(CPU_EQUAL(&before, &after));
	return 0;
}
