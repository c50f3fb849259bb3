/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults on pages that are out.
 *
 *   P4   random touches by one thread, against the kernel's swap on a file of the same disk
 *   P5   the same with 8 and 32 threads
 *   P6   a whole working set coming back, in sequential and in repeated random order
 *   P12  CPU of a fault with I/O, against a bare handler that only copies
 *
 * The same against LLNL umap, where --umap has it: disk-fault-umap, disk-rate-umap, refill-umap.
 */
#include <stdio.h>

#include "perf/bench/bench.h"
#include "perf/bench/place.h"
#include "perf/bench/trial.h"
#include "perf/command/floors.h"
#include "queue/base/bits.h"

#define QUICK_BYTES   (128 * MIB)
#define FULL_BYTES    GIB
#define QUICK_TOUCHES 4096u
#define FULL_TOUCHES  32768u

static void setup_for(const struct bench *bench, uint64_t size_bytes, enum placement placement,
	struct contestant_setup *ret_setup)
{
	bench_setup(bench, size_bytes, ret_setup);
	place_handler(placement, ret_setup);
}

static uint64_t touches(const struct bench *bench)
{
	return bench->options.is_full ? FULL_TOUCHES : QUICK_TOUCHES;
}

static void add_swap_file(
	struct duel *duel, const struct contestant_setup *setup, const struct touch_trial *trial)
{
	struct contestant_setup kernel = *setup;

	kernel.option = "file";
	(void)duel_add(duel, "kernel-swapfile", &contestant_swap, &kernel, trial_evicted, trial);
}

/* Only when asked for: it is not to be had from a distribution. */
static void add_umap(struct duel *duel, const struct contestant_setup *setup, duel_trial *run,
	const struct touch_trial *trial)
{
	struct contestant_setup umap = *setup;

	umap.option = duel->bench->options.umap;
	if (umap.option)
		(void)duel_add(duel, "umap", &contestant_umap, &umap, run, trial);
}

static void add_umap_row(
	const struct duel *duel, enum touch_metric metric, const char *id, const struct row *like)
{
	struct row row = *like;

	row.id = id;
	row.reference = "umap";
	(void)duel_row(duel, metric, &row);
}

static void add_row(const struct duel *duel, enum touch_metric metric, const struct row *like)
{
	struct row row = *like;

	(void)duel_row(duel, metric, &row);
}

static void single_rows(const struct duel *duel, enum placement placement)
{
	struct row row = {
		.id = "P4",
		.part = "p50",
		.what = "fault from disk, 1 thread, random touches",
		.subject = "vmswapd",
		.reference = "kernel-swapfile",
		.unit = "us",
		.placement = placement_name(placement),
	};

	add_row(duel, TOUCH_P50, &row);
	add_umap_row(duel, TOUCH_P50, "disk-fault-umap", &row);
	row.part = "p99";
	add_row(duel, TOUCH_P99, &row);
	add_umap_row(duel, TOUCH_P99, "disk-fault-umap", &row);
	row.id = "disk-fault-crosvm";
	row.part = "p50";
	row.reference = "crosvm-style";
	add_row(duel, TOUCH_P50, &row);
	row.id = "disk-fault-floor";
	row.reference = "disk-read-qd1";
	add_row(duel, TOUCH_P50, &row);
}

static void run_single(struct bench *bench, enum placement placement)
{
	const struct touch_trial trial = {
		.kind = ORDER_UNIFORM,
		.count = touches(bench),
		.threads = 1,
		.cpu = place_client(placement),
	};
	struct contestant_setup setup;
	struct contestant_setup peer;
	struct floor_disk_trial floor;
	struct duel duel;

	if (duel_begin(&duel, bench, "faults from disk, 1 thread") < 0)
		return;
	setup_for(bench, bench_size(bench, QUICK_BYTES, FULL_BYTES), placement, &setup);
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_evicted, &trial);
	add_swap_file(&duel, &setup, &trial);
	peer = setup;
	/* As the kernel's read-ahead on this disk may be many times what it is elsewhere. */
	peer.option = "random";
	(void)duel_add(&duel, "crosvm-style", &contestant_crosvm, &peer, trial_evicted, &trial);
	add_umap(&duel, &setup, trial_evicted, &trial);
	floors_add_random_read(&duel, &floor, 1, touches(bench), trial.cpu);
	duel_run(&duel);
	single_rows(&duel, placement);
	duel_picture(&duel, "disk-fault", "Latency of a fault from disk, 1 thread");
	duel_end(&duel);
	floors_close(&floor);
}

static void run_many(struct bench *bench, uint32_t threads)
{
	const struct touch_trial trial = {
		.kind = ORDER_UNIFORM,
		.count = touches(bench) * 2,
		.threads = threads,
		.cpu = CLIENT_ANY_CPU,
	};
	char part[32];
	struct row row = {
		.id = "P5",
		.part = part,
		.what = "faults from disk a second, random touches",
		.subject = "vmswapd",
		.reference = "kernel-swapfile",
		.unit = "faults/s",
		.placement = placement_name(PLACEMENT_NONE),
	};
	struct contestant_setup setup;
	struct contestant_setup raw;
	struct floor_disk_trial floor;
	struct duel duel;

	(void)snprintf(part, sizeof(part), "%u threads", threads);
	if (duel_begin(&duel, bench, part) < 0)
		return;
	setup_for(bench, bench_size(bench, QUICK_BYTES, FULL_BYTES), PLACEMENT_NONE, &setup);
	setup.shards = 2;
	raw = setup;
	raw.option = "batch-copy";
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_evicted, &trial);
	add_swap_file(&duel, &setup, &trial);
	(void)duel_add(&duel, "raw-batch-copy", &contestant_raw, &raw, trial_staged, &trial);
	add_umap(&duel, &setup, trial_evicted, &trial);
	floors_add_random_read(&duel, &floor, threads, trial.count, CLIENT_ANY_CPU);
	duel_run(&duel);
	add_row(&duel, TOUCH_RATE, &row);
	add_umap_row(&duel, TOUCH_RATE, "disk-rate-umap", &row);
	row.id = "disk-rate-floor";
	row.reference = floor.name;
	add_row(&duel, TOUCH_RATE, &row);
	if (threads == 32) {
		row = (struct row){
			.id = "P12",
			.part = "copy",
			.what = "shard CPU of a fault from disk, 32 threads",
			.subject = "vmswapd",
			.reference = "raw-batch-copy",
			.unit = "us",
			.placement = placement_name(PLACEMENT_NONE),
		};
		add_row(&duel, TOUCH_CPU, &row);
	}
	duel_end(&duel);
	floors_close(&floor);
}

/* The first refill of a repeated order is what the daemon learns from; it does not count. */
static int trial_refill(struct duel_side *side, uint32_t round)
{
	const struct touch_trial *trial = side->argument;
	const int error = round == 0 && trial->is_same_each_round ? trial_evicted(side, round) : 0;

	return error ? error : trial_evicted(side, round);
}

static void run_refill(struct bench *bench, bool is_recorded)
{
	struct touch_trial trial = {
		.kind = is_recorded ? ORDER_UNIFORM : ORDER_SEQUENTIAL,
		.threads = 1,
		.cpu = CLIENT_ANY_CPU,
		.is_same_each_round = is_recorded,
	};
	const struct row row = {
		.id = "P6",
		.part = is_recorded ? "recorded" : "sequential",
		.what = "time to bring a working set back by touching it",
		.subject = "vmswapd",
		.reference = "kernel-swapfile",
		.unit = "s",
		.placement = placement_name(PLACEMENT_NONE),
	};
	struct contestant_setup setup;
	struct contestant_setup kernel;
	struct duel duel;

	if (duel_begin(&duel, bench, is_recorded ? "refill, repeated order" : "refill") < 0)
		return;
	setup_for(bench, bench_size(bench, QUICK_BYTES / 2, FULL_BYTES), PLACEMENT_NONE, &setup);
	setup.shards = 2;
	trial.count = setup.client.pages;
	kernel = setup;
	kernel.option = "file";
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_refill, &trial);
	(void)duel_add(&duel, "kernel-swapfile", &contestant_swap, &kernel, trial_refill, &trial);
	add_umap(&duel, &setup, trial_refill, &trial);
	duel_run(&duel);
	add_row(&duel, TOUCH_TIME, &row);
	add_umap_row(&duel, TOUCH_TIME, "refill-umap", &row);
	duel_end(&duel);
}

static bool wants_umap(const struct bench *bench, const char *id)
{
	return bench->options.umap && bench_wants(bench, id);
}

void command_disk_fault(struct bench *bench)
{
	const bool wants_single = bench_wants(bench, "P4") || wants_umap(bench, "disk-fault-umap");

	for (uint32_t i = 0; wants_single && i < PLACEMENT_COUNT; i++)
		if (place_wants(bench, PLACEMENT_SAME, (enum placement)i))
			run_single(bench, (enum placement)i);
	if (bench_wants(bench, "P5") || bench_wants(bench, "P12") ||
		wants_umap(bench, "disk-rate-umap")) {
		run_many(bench, 8);
		run_many(bench, 32);
	}
	if (bench_wants(bench, "P6") || wants_umap(bench, "refill-umap")) {
		run_refill(bench, false);
		run_refill(bench, true);
	}
}
