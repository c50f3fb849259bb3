/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and latency histograms of a VM. Each shard writes its own block, so a counter has one
 * writer; readers sum the blocks without stopping anybody.
 */
#ifndef VMSWAP_ENGINE_STATS_H
#define VMSWAP_ENGINE_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "queue/base/bits.h"

enum counter {
#define STAT(name, sentence) STAT_##name,
#include "engine/stats.def"
#undef STAT
	STAT_COUNT,
};

/* Where pages are. Resident is what is left, so that the four always sum to the pages of the VM. */
enum gauge {
	GAUGE_STAGED,
	GAUGE_SWAPPED,
	GAUGE_ZERO,
	GAUGE_COUNT,
};

enum latency {
	LATENCY_STAGED,
	LATENCY_FILE,
	LATENCY_ZERO,
	LATENCY_COUNT,
};

/* Log-linear buckets: 16 a power of two, from 16 ns up to 2^36 ns (68 s); error below 6.3 %. */
#define HISTOGRAM_BUCKETS 544u

struct histogram {
	_Atomic uint64_t bucket[HISTOGRAM_BUCKETS];
	_Atomic uint64_t max_ns;
};

/* One a shard and VM. Written by the shard, read by any thread. */
struct stats_block {
	_Alignas(CACHE_LINE) _Atomic uint64_t count[STAT_COUNT];
	_Atomic int64_t gauge[GAUGE_COUNT];
	struct histogram latency[LATENCY_COUNT];
};

struct latency_summary {
	uint64_t count;
	double p50_us, p99_us, p99_9_us, max_us;
};

struct vm;

struct vm_stats {
	uint64_t pages;
	uint64_t resident_pages, staging_pages, swap_pages, zero_pages; /* sum: pages */
	uint64_t count[STAT_COUNT];
	struct latency_summary latency[LATENCY_COUNT];
};

/* Owner shard. */
static inline void stats_add(struct stats_block *block, enum counter stat, uint64_t amount)
{
	uint64_t old = atomic_load_explicit(&block->count[stat], memory_order_relaxed);

	atomic_store_explicit(&block->count[stat], old + amount, memory_order_relaxed);
}

static inline void stats_gauge_add(struct stats_block *block, enum gauge gauge, int64_t amount)
{
	int64_t old = atomic_load_explicit(&block->gauge[gauge], memory_order_relaxed);

	atomic_store_explicit(&block->gauge[gauge], old + amount, memory_order_relaxed);
}

/* Owner shard. */
void histogram_add(struct histogram *histogram, uint64_t ns);

const char *stats_name(enum counter stat);
const char *stats_sentence(enum counter stat);

/* Sums @count blocks; pages and the where-counts are filled from @pages. Any thread. */
void stats_sum(const struct stats_block *blocks, uint32_t count, uint64_t pages,
	struct vm_stats *ret_stats);

/* engine.h's reader: any thread, never stops a shard. */
void vm_stats_read(const struct vm *vm, struct vm_stats *ret_stats);

#endif
