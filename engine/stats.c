/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/stats.h"

#include <assert.h>
#include <string.h>

#include "queue/base/assert.h"

#define SUB_BUCKET_BITS 4
#define SUB_BUCKETS	(1u << SUB_BUCKET_BITS)

static const char *const names[] = {
#define STAT(name, sentence) [STAT_##name] = #name,
#include "engine/stats.def"
#undef STAT
};
static_assert(ARRAY_SIZE(names) == STAT_COUNT, "every counter has a name");

static const char *const sentences[] = {
#define STAT(name, sentence) [STAT_##name] = sentence,
#include "engine/stats.def"
#undef STAT
};

const char *stats_name(enum counter stat)
{
	ASSERT(stat < STAT_COUNT);
	return names[stat];
}

const char *stats_sentence(enum counter stat)
{
	ASSERT(stat < STAT_COUNT);
	return sentences[stat];
}

/* Values below SUB_BUCKETS have a bucket each; above, the top bits choose. */
static uint32_t bucket_of(uint64_t ns)
{
	uint32_t shift;
	uint32_t bucket;

	if (ns < SUB_BUCKETS)
		return (uint32_t)ns;
	shift = 63 - (uint32_t)__builtin_clzll(ns) - SUB_BUCKET_BITS;
	bucket = (shift + 1) * SUB_BUCKETS + (uint32_t)((ns >> shift) & (SUB_BUCKETS - 1));
	return MIN(bucket, HISTOGRAM_BUCKETS - 1);
}

/* The upper end of a bucket. */
static uint64_t bucket_ns(uint32_t bucket)
{
	const uint32_t shift = bucket / SUB_BUCKETS;

	if (shift == 0)
		return bucket;
	return ((uint64_t)(SUB_BUCKETS + bucket % SUB_BUCKETS + 1) << (shift - 1)) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
	_Atomic uint64_t *bucket = &histogram->bucket[bucket_of(ns)];

	atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1,
		memory_order_relaxed);
	if (ns > atomic_load_explicit(&histogram->max_ns, memory_order_relaxed))
		atomic_store_explicit(&histogram->max_ns, ns, memory_order_relaxed);
}

static double percentile_us(const uint64_t *bucket, uint64_t count, double fraction, uint64_t max)
{
	const uint64_t rank = (uint64_t)(fraction * (double)count);
	uint64_t seen = 0;

	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += bucket[i];
		if (seen > rank)
			return (double)MIN(bucket_ns(i), max) / 1000;
	}
	return (double)max / 1000;
}

static void summarise(const struct stats_block *blocks, uint32_t block_count, enum latency which,
	struct latency_summary *ret_summary)
{
	uint64_t bucket[HISTOGRAM_BUCKETS] = {0};
	uint64_t count = 0;
	uint64_t max = 0;

	for (uint32_t b = 0; b < block_count; b++) {
		const struct histogram *histogram = &blocks[b].latency[which];

		for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
			const uint64_t amount =
				atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);

			bucket[i] += amount;
			count += amount;
		}
		max = MAX(max, atomic_load_explicit(&histogram->max_ns, memory_order_relaxed));
	}
	*ret_summary = (struct latency_summary){
		.count = count,
		.p50_us = percentile_us(bucket, count, 0.5, max),
		.p99_us = percentile_us(bucket, count, 0.99, max),
		.p99_9_us = percentile_us(bucket, count, 0.999, max),
		.max_us = (double)max / 1000,
	};
}

/*
 * A page moves between the reads of two gauges, so a sum may be a page off: resident is derived and
 * the others are clipped, and the four always add up.
 */
static void place_pages(const int64_t *gauge, struct vm_stats *stats)
{
	uint64_t left = stats->pages;

	stats->swap_pages = MIN((uint64_t)MAX(gauge[GAUGE_SWAPPED], 0), left);
	left -= stats->swap_pages;
	stats->staging_pages = MIN((uint64_t)MAX(gauge[GAUGE_STAGED], 0), left);
	left -= stats->staging_pages;
	stats->zero_pages = MIN((uint64_t)MAX(gauge[GAUGE_ZERO], 0), left);
	stats->resident_pages = left - stats->zero_pages;
}

void stats_sum(const struct stats_block *blocks, uint32_t count, uint64_t pages,
	struct vm_stats *ret_stats)
{
	int64_t gauge[GAUGE_COUNT] = {0};

	ASSERT(count > 0);
	memset(ret_stats, 0, sizeof(*ret_stats));
	ret_stats->pages = pages;
	for (uint32_t b = 0; b < count; b++) {
		for (uint32_t i = 0; i < GAUGE_COUNT; i++)
			gauge[i] += atomic_load_explicit(&blocks[b].gauge[i], memory_order_relaxed);
		for (uint32_t i = 0; i < STAT_COUNT; i++)
			ret_stats->count[i] +=
				atomic_load_explicit(&blocks[b].count[i], memory_order_relaxed);
	}
	place_pages(gauge, ret_stats);
	for (uint32_t i = 0; i < LATENCY_COUNT; i++)
		summarise(blocks, count, (enum latency)i, &ret_stats->latency[i]);
}
