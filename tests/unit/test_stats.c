/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/stats.h"
#include "queue/base/clock.h"

#define BLOCKS 3u

static struct stats_block *blocks;

static void open_blocks(void)
{
	blocks = aligned_alloc(CACHE_LINE, BLOCKS * sizeof(*blocks));
	cr_assert_not_null(blocks);
	memset(blocks, 0, BLOCKS * sizeof(*blocks));
}

static void close_blocks(void)
{
	free(blocks);
}

TestSuite(stats, .init = open_blocks, .fini = close_blocks);

static struct vm_stats sum(uint64_t pages)
{
	struct vm_stats stats;

	stats_sum(blocks, BLOCKS, pages, &stats);
	return stats;
}

static uint64_t places(const struct vm_stats *stats)
{
	return stats->resident_pages + stats->staging_pages + stats->swap_pages + stats->zero_pages;
}

Test(stats, counters_of_all_shards_are_summed)
{
	struct vm_stats stats;

	stats_add(&blocks[0], STAT_faults_file, 2);
	stats_add(&blocks[2], STAT_faults_file, 5);
	stats = sum(10);

	cr_assert_eq(stats.count[STAT_faults_file], 7);
	cr_assert_eq(stats.count[STAT_faults_zero], 0);
}

Test(stats, resident_is_what_the_other_places_leave)
{
	struct vm_stats stats;

	stats_gauge_add(&blocks[0], GAUGE_ZERO, 100);
	stats_gauge_add(&blocks[1], GAUGE_ZERO, -60);
	stats_gauge_add(&blocks[1], GAUGE_STAGED, 20);
	stats_gauge_add(&blocks[2], GAUGE_SWAPPED, 10);
	stats = sum(100);

	cr_assert_eq(stats.zero_pages, 40);
	cr_assert_eq(stats.staging_pages, 20);
	cr_assert_eq(stats.swap_pages, 10);
	cr_assert_eq(stats.resident_pages, 30);
}

Test(stats, the_four_places_sum_to_the_pages_whatever_a_torn_read_says)
{
	const int64_t torn[][GAUGE_COUNT] = {{-1, 5, 3}, {50, 70, 90}, {101, 0, 0}, {0, 0, -7}};

	for (size_t i = 0; i < ARRAY_SIZE(torn); i++) {
		struct vm_stats stats;

		for (uint32_t gauge = 0; gauge < GAUGE_COUNT; gauge++)
			atomic_store(&blocks[1].gauge[gauge], torn[i][gauge]);
		stats = sum(100);

		cr_assert_eq(places(&stats), 100);
		cr_assert_leq(stats.resident_pages, 100);
	}
}

Test(stats, percentiles_are_within_the_error_of_a_bucket)
{
	struct latency_summary summary;

	for (uint64_t us = 1; us <= 1000; us++)
		histogram_add(&blocks[us % BLOCKS].latency[LATENCY_FILE], us * NS_PER_US);
	summary = sum(1).latency[LATENCY_FILE];

	cr_assert_eq(summary.count, 1000);
	cr_assert_float_eq(summary.p50_us, 500, 500 * 0.065);
	cr_assert_float_eq(summary.p99_us, 990, 990 * 0.065);
	cr_assert_float_eq(summary.p99_9_us, 999, 999 * 0.065);
	cr_assert_float_eq(summary.max_us, 1000, 0.001);
}

Test(stats, every_duration_has_a_bucket)
{
	struct latency_summary summary;

	histogram_add(&blocks[0].latency[LATENCY_ZERO], 0);
	for (uint32_t bit = 0; bit < 64; bit++)
		histogram_add(&blocks[0].latency[LATENCY_ZERO], (uint64_t)1 << bit);
	histogram_add(&blocks[0].latency[LATENCY_ZERO], UINT64_MAX);
	summary = sum(1).latency[LATENCY_ZERO];

	cr_assert_eq(summary.count, 66);
	cr_assert_leq(summary.p50_us, summary.p99_us);
	cr_assert_leq(summary.p99_9_us, summary.max_us);
}

Test(stats, an_empty_histogram_has_no_latency)
{
	const struct latency_summary summary = sum(1).latency[LATENCY_STAGED];

	cr_assert_eq(summary.count, 0);
	cr_assert_float_eq(summary.p50_us, 0, 1e-9);
	cr_assert_float_eq(summary.max_us, 0, 1e-9);
}

Test(stats, every_counter_has_a_name_and_a_sentence_of_its_own)
{
	for (uint32_t i = 0; i < STAT_COUNT; i++) {
		cr_assert_gt(strlen(stats_sentence((enum counter)i)), 10);
		for (uint32_t j = 0; j < i; j++)
			cr_assert_str_neq(stats_name((enum counter)i), stats_name((enum counter)j));
	}
}
