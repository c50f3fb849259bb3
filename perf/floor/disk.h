/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk does at best: O_DIRECT through io_uring, from registered buffers, on the calling
 * thread. The file must have been written before, all of it: reads of holes never reach the disk,
 * and first writes convert extents. What is written is incompressible.
 *
 * Buffers of 4 KiB pages are what guest memory looks like to the disk, and what fio(1) has; of huge
 * pages, what a disk does at best: a virtual one reads long pieces more than twice as fast.
 */
#ifndef VMSWAP_PERF_FLOOR_DISK_H
#define VMSWAP_PERF_FLOOR_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "perf/floor/pin.h"

#define FLOOR_DISK_DEPTH_MAX 256u

enum floor_disk_kind {
	FLOOR_DISK_RANDOM_READ, /* no piece twice */
	FLOOR_DISK_READ,	/* from the start on, and again from the start */
	FLOOR_DISK_WRITE,	/* the same; destroys what the file holds */
};

struct floor_disk_job {
	enum floor_disk_kind kind;
	int fd;		      /* of a file or a block device, O_DIRECT; stays the caller's */
	uint64_t size_bytes;  /* the part of it that is used */
	uint32_t piece_bytes; /* of one operation, whole pages */
	uint32_t depth;	      /* 1…FLOOR_DISK_DEPTH_MAX operations in flight */
	uint64_t pieces;      /* operations in all; random: no more than the file has */
	int cpu;	      /* or FLOOR_ANY_CPU */
	bool has_huge_pages;  /* buffers of huge pages (THP), else of scattered 4 KiB ones */
	uint64_t seed;	      /* of the random order and of what is written */
};

struct floor_disk_result {
	uint64_t elapsed_ns; /* first submitted to last ended */
	uint64_t bytes;
	uint64_t samples;     /* = pieces */
	uint32_t *latency_ns; /* in the order they ended; the caller frees it */
};

/* An unnamed file in @directory, pre-written and on the disk. -errno; -EOPNOTSUPP: no O_DIRECT. */
int floor_disk_open(const char *directory, uint64_t size_bytes, int *ret_fd);
/* Makes @fd a pre-written file of @size_bytes, whole chunks. -errno. */
int floor_disk_fill(int fd, uint64_t size_bytes);

/*
 * -errno of the disk; -EINVAL: @fd is not O_DIRECT or too short; -ENODATA: it has holes or extents
 * that were never written.
 */
int floor_disk_run(const struct floor_disk_job *job, struct floor_disk_result *ret_result);

double floor_disk_iops(const struct floor_disk_result *result);
/* GB/s are 10^9 bytes a second. */
double floor_disk_gb_per_s(const struct floor_disk_result *result);

struct floor_disk_fio {
	double iops;
	double gb_per_s;
	uint64_t p50_ns;
	uint64_t p99_ns;
};

/*
 * What fio(1) says about the same job on the same file, to tell that the floor is none of our
 * making. -ENOENT: no fio on PATH; -EIO: it failed; -EPROTO: its answer is not understood.
 */
int floor_disk_fio_check(const struct floor_disk_job *job, struct floor_disk_fio *ret_fio);

#endif
