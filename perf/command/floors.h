/* SPDX-License-Identifier: Apache-2.0 */
/* Floors of the machine (perf/floor/) as sides of a duel. */
#ifndef VMSWAP_PERF_COMMAND_FLOORS_H
#define VMSWAP_PERF_COMMAND_FLOORS_H

#include <stdint.h>

#include "perf/bench/duel.h"
#include "perf/floor/disk.h"

#define FLOOR_MEMORY_READ "memory-read"

/* A file on the disk under test, written once, and how it is read or written each round. */
struct floor_disk_trial {
	char name[32];
	enum floor_disk_kind kind;
	int fd; /* -1: could not be made; the side is out */
	uint32_t depth;
	uint64_t count; /* operations a round */
	int cpu;
};

/* "disk-read-qdN": random 4 KiB reads, @count of them; metrics as of touches. */
void floors_add_random_read(
	struct duel *duel, struct floor_disk_trial *floor, uint32_t depth, uint64_t count, int cpu);
/* "disk-write", "disk-read": 2 MiB, sequential, depth 4; metric BULK_RATE. */
void floors_add_write(struct duel *duel, struct floor_disk_trial *floor);
void floors_add_read(struct duel *duel, struct floor_disk_trial *floor);
/* FLOOR_MEMORY_READ: plain reads of memory by one thread; metric BULK_RATE. */
void floors_add_memory_read(struct duel *duel);
void floors_close(struct floor_disk_trial *floor);

#endif
