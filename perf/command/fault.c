/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults without I/O: every page is in RAM and mapped by nobody.
 *
 *   P1   random touches by one thread, against a bare handler that does nothing but CONTINUE
 *   P3   sequential touches, against a bare handler that maps 16 pages at a time
 *   P16  against a fault that the kernel serves from zram-lz4
 *
 * and the other designs, orders of touches and placements, without targets.
 */
#include <stdio.h>
#include <stdlib.h>

#include "perf/bench/bench.h"
#include "perf/bench/place.h"
#include "perf/bench/trial.h"
#include "perf/client/trace.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define QUICK_BYTES (128 * MIB)
#define FULL_BYTES  GIB
/* A share of the pages, so that a round of the slowest side takes a second. */
#define QUICK_TOUCHES 8192u
#define FULL_TOUCHES  65536u

static struct touch_trial one_thread(
	const struct bench *bench, enum order_kind kind, enum placement placement)
{
	return (struct touch_trial){
		.kind = kind,
		.count = bench->options.is_full ? FULL_TOUCHES : QUICK_TOUCHES,
		.threads = 1,
		.cpu = place_client(placement),
		.is_write = true,
	};
}

static void setup_for(
	const struct bench *bench, enum placement placement, struct contestant_setup *ret_setup)
{
	bench_setup(bench, bench_size(bench, QUICK_BYTES, FULL_BYTES), ret_setup);
	place_handler(placement, ret_setup);
	ret_setup->client.content = CLIENT_TEXT;
}

static void add_kernel_sides(
	struct duel *duel, const struct contestant_setup *setup, const struct touch_trial *trial)
{
	struct contestant_setup kernel = *setup;

	kernel.option = "minor";
	(void)duel_add(duel, "kernel-minor", &contestant_kernel, &kernel, trial_staged, trial);
	kernel.option = "zram";
	(void)duel_add(duel, "kernel-zram-lz4", &contestant_swap, &kernel, trial_evicted, trial);
}

static void random_rows(const struct duel *duel, enum placement placement)
{
	static const struct {
		const char *id, *part, *what, *reference;
		enum touch_metric metric;
	} rows[] = {
		{"P1", "p50", "staged fault, random touches", "raw-continue", TOUCH_P50},
		{"P1", "p99", "staged fault, random touches", "raw-continue", TOUCH_P99},
		{"P16", NULL, "staged fault against a zram-lz4 fault", "kernel-zram-lz4",
			TOUCH_P50},
		{"fault-copy", "p50", "staged fault against a bare COPY", "raw-copy", TOUCH_P50},
		{"fault-crosvm", "p50", "staged fault, random touches", "crosvm-style", TOUCH_P50},
		{"fault-qemu", "p50", "staged fault, random touches", "qemu-postcopy-style",
			TOUCH_P50},
		{"fault-kernel", "p50", "staged fault against a kernel minor fault", "kernel-minor",
			TOUCH_P50},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct row row = {
			.id = rows[i].id,
			.part = rows[i].part,
			.what = rows[i].what,
			.subject = "vmswapd",
			.reference = rows[i].reference,
			.unit = "us",
			.placement = placement_name(placement),
		};

		(void)duel_row(duel, rows[i].metric, &row);
	}
}

static void run_random(struct bench *bench, enum placement placement)
{
	const struct touch_trial trial = one_thread(bench, ORDER_UNIFORM, placement);
	struct contestant_setup setup;
	struct contestant_setup raw;
	struct duel duel;

	if (duel_begin(&duel, bench, "staged faults, random") < 0)
		return;
	setup_for(bench, placement, &setup);
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_staged, &trial);
	raw = setup;
	raw.option = "continue";
	(void)duel_add(&duel, "raw-continue", &contestant_raw, &raw, trial_staged, &trial);
	raw.option = "copy";
	(void)duel_add(&duel, "raw-copy", &contestant_raw, &raw, trial_staged, &trial);
	(void)duel_add(&duel, "crosvm-style", &contestant_crosvm, &setup, trial_staged, &trial);
	(void)duel_add(
		&duel, "qemu-postcopy-style", &contestant_qemu, &setup, trial_staged, &trial);
	add_kernel_sides(&duel, &setup, &trial);
	duel_run(&duel);
	random_rows(&duel, placement);
	duel_picture(&duel, "staged-fault", "Latency of a staged fault, random touches");
	duel_end(&duel);
}

static void run_sequential(struct bench *bench, enum placement placement)
{
	struct touch_trial trial = one_thread(bench, ORDER_SEQUENTIAL, placement);
	struct row row = {
		.id = "P3",
		.part = "raw",
		.what = "staged faults, sequential touches, fault-around",
		.subject = "vmswapd",
		.reference = "raw-around",
		.unit = "pages/s",
		.placement = placement_name(placement),
	};
	struct contestant_setup setup;
	struct contestant_setup raw;
	struct duel duel;

	if (duel_begin(&duel, bench, "staged faults, sequential") < 0)
		return;
	setup_for(bench, placement, &setup);
	trial.count = setup.client.pages;
	raw = setup;
	raw.option = "around";
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_staged, &trial);
	(void)duel_add(&duel, "raw-around", &contestant_raw, &raw, trial_staged, &trial);
	(void)duel_add(&duel, "crosvm-style", &contestant_crosvm, &setup, trial_staged, &trial);
	duel_run(&duel);
	(void)duel_row(&duel, TOUCH_RATE, &row);
	row.part = "crosvm";
	row.reference = "crosvm-style";
	(void)duel_row(&duel, TOUCH_RATE, &row);
	duel_end(&duel);
}

/* One order against the bare handler. */
static void run_order(struct bench *bench, const char *name, const struct touch_trial *trial,
	uint64_t size_bytes, enum placement placement)
{
	const struct row row = {
		.id = "workload",
		.part = name,
		.what = "staged touches in this order, touches a second",
		.subject = "vmswapd",
		.reference = "raw-continue",
		.unit = "touches/s",
		.placement = placement_name(placement),
	};
	struct row filled = row;
	struct contestant_setup setup;
	struct contestant_setup raw;
	struct duel duel;

	if (duel_begin(&duel, bench, name) < 0)
		return;
	setup_for(bench, placement, &setup);
	setup.client.pages = size_bytes / PAGE_BYTES;
	raw = setup;
	raw.option = "continue";
	(void)duel_add(&duel, "vmswapd", &contestant_vmswapd, &setup, trial_staged, trial);
	(void)duel_add(&duel, "raw-continue", &contestant_raw, &raw, trial_staged, trial);
	duel_run(&duel);
	(void)duel_row(&duel, TOUCH_RATE, &filled);
	duel_end(&duel);
}

static void run_orders(struct bench *bench, enum placement placement)
{
	const uint64_t size_bytes = bench_size(bench, QUICK_BYTES, FULL_BYTES);
	const enum order_kind kinds[] = {ORDER_STRIDED, ORDER_ZIPF};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct touch_trial trial = one_thread(bench, kinds[i], placement);

		run_order(bench, order_name(kinds[i]), &trial, size_bytes, placement);
	}
}

static void run_trace(
	struct bench *bench, const char *name, const char *path, enum placement placement)
{
	struct touch_trial trial = one_thread(bench, ORDER_UNIFORM, placement);
	CLEANUP_FREE uint32_t *order = NULL;
	struct trace trace;
	const char *why;
	uint64_t pages;

	if (trace_load(path, &trace, &why) < 0) {
		bench_skip(bench, path, why);
		return;
	}
	pages = divide_up(MAX(trace.count, 1u), CHUNK_PAGES) * CHUNK_PAGES;
	if (trace_first_touches(&trace, TRACE_DENSE, pages, &order, &trial.count) == 0) {
		trial.trace = order;
		run_order(bench, name, &trial, pages * PAGE_BYTES, placement);
	}
	trace_free(&trace);
}

static void run_traces(struct bench *bench, enum placement placement)
{
	if (bench->options.trace) {
		run_trace(bench, "trace", bench->options.trace, placement);
		return;
	}
	run_trace(bench, "boot", VMSWAP_TRACES "/boot.trace", placement);
	run_trace(bench, "database", VMSWAP_TRACES "/database.trace", placement);
}

void command_fault(struct bench *bench)
{
	for (uint32_t i = 0; i < PLACEMENT_COUNT; i++) {
		const enum placement placement = (enum placement)i;

		if (!place_wants(bench, PLACEMENT_SAME, placement))
			continue;
		if (bench_wants(bench, "P1") || bench_wants(bench, "P16"))
			run_random(bench, placement);
		if (bench_wants(bench, "P3"))
			run_sequential(bench, placement);
		if (bench_wants(bench, "workload")) {
			run_orders(bench, placement);
			run_traces(bench, placement);
		}
	}
}
