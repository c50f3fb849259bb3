/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   P13  metadata: bytes a page in RAM and out, and the daemon's size beside a sparse VM of 1 TiB
 *   P14  CPU of a daemon with nothing to do
 *   P15  how cost grows with the size and the number of VMs
 *
 * Values that are no ratio of two measurements have 1, or the size of the VM, as their reference.
 */
#include <stdio.h>
#include <unistd.h>

#include "perf/bench/bench.h"
#include "perf/bench/host.h"
#include "perf/bench/place.h"
#include "perf/bench/progress.h"
#include "perf/bench/row.h"
#include "perf/command/growth.h"
#include "perf/command/herd.h"
#include "perf/contestant/contestant.h"
#include "perf/contestant/daemon.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"

#define SHARDS	     2u
#define TABLE_BYTES  (256 * MIB)
#define SPARSE_BYTES (1024 * GIB)
/* Pages of it that exist. */
#define SPARSE_PAGES 1024u
#define IDLE_VMS     4u
#define IDLE_QUICK_S 1u
#define IDLE_FULL_S  10u

static struct row plain_row(const char *id, const char *part, const char *what, const char *unit)
{
	return (struct row){
		.id = id,
		.part = part,
		.what = what,
		.subject = "vmswapd",
		.reference = "1",
		.unit = unit,
		.placement = placement_name(PLACEMENT_NONE),
	};
}

static int metadata_of(struct herd *herd, uint64_t pages, double *ret_bytes)
{
	uint64_t bytes;
	const int error = herd_number(herd, "metadata_bytes", &bytes);

	*ret_bytes = (double)bytes / (double)pages;
	return error;
}

/* One VM with every page in RAM, then with every page out. */
static int measure_tables(struct bench *bench, struct herd *herd)
{
	const struct client_config config = {.pages = TABLE_BYTES / PAGE_BYTES};
	struct row resident = plain_row("P13", "resident", "metadata, all in RAM", "B/page");
	struct row swapped = plain_row("P13", "swapped", "metadata, all out", "B/page");
	uint64_t ns;
	uint64_t bytes;
	double per_page = 0;
	int error = herd_open(herd, bench, 1, SHARDS, &config);

	if (error == 0)
		error = herd_run(herd, "vm.enable", &ns, &bytes);
	if (error == 0)
		error = metadata_of(herd, config.pages, &per_page);
	if (error < 0)
		return error;
	row_add(&resident, per_page, 1, false);
	error = herd_run(herd, "vm.swap_out", &ns, &bytes);
	if (error == 0)
		error = metadata_of(herd, config.pages, &per_page);
	if (error < 0)
		return error;
	row_add(&swapped, per_page, 1, false);
	bench_add(bench, &resident);
	bench_add(bench, &swapped);
	return 0;
}

static int measure_sparse(struct bench *bench, struct herd *herd)
{
	const struct client_config config = {
		.pages = SPARSE_BYTES / PAGE_BYTES,
		.fill_stride = SPARSE_BYTES / PAGE_BYTES / SPARSE_PAGES,
	};
	struct row row = plain_row(
		"P13", "sparse", "resident set of the daemon beside a sparse VM of 1 TiB", "B");
	uint64_t ns;
	uint64_t bytes;
	int error = herd_open(herd, bench, 1, SHARDS, &config);

	if (error == 0)
		error = herd_run(herd, "vm.enable", &ns, &bytes);
	if (error == 0)
		error = herd_run(herd, "vm.swap_out", &ns, &bytes);
	if (error < 0)
		return error;
	row.reference = "size of the VM";
	row_add(&row, (double)daemon_resident_bytes(herd->daemon), (double)SPARSE_BYTES, false);
	bench_add(bench, &row);
	return 0;
}

static int measure_idle(struct bench *bench, struct herd *herd)
{
	const struct client_config config = {.pages = 64 * MIB / PAGE_BYTES};
	const unsigned seconds = bench->options.is_full ? IDLE_FULL_S : IDLE_QUICK_S;
	struct row row = plain_row("P14", NULL, "CPU of an idle daemon with 4 VMs", "CPUs");
	struct host_load load;
	uint64_t ns;
	uint64_t bytes;
	uint64_t cpu_ns;
	int error = herd_open(herd, bench, IDLE_VMS, SHARDS, &config);

	if (error == 0)
		error = herd_run(herd, "vm.enable", &ns, &bytes);
	if (error < 0)
		return error;
	for (uint32_t round = 0; round < bench->options.rounds; round++) {
		const uint64_t begin_ns = clock_ns();

		progress_step("idle: round %u", round + 1);
		host_load_begin(&load);
		cpu_ns = contestant_process_cpu_ns(daemon_pid(herd->daemon));
		(void)sleep(seconds); /* what is measured is this time */
		cpu_ns = contestant_process_cpu_ns(daemon_pid(herd->daemon)) - cpu_ns;
		row_add(&row, (double)cpu_ns / (double)(clock_ns() - begin_ns), 1,
			host_load_foreign(&load) > 0.1);
	}
	bench_add(bench, &row);
	return 0;
}

void command_memory(struct bench *bench)
{
	static const struct {
		const char *id, *what;
		int (*measure)(struct bench *, struct herd *);
	} parts[] = {
		{"P13", "metadata", measure_tables},
		{"P13", "sparse VM", measure_sparse},
		{"P14", "idle daemon", measure_idle},
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		struct herd herd = {0};

		if (!bench_wants(bench, parts[i].id))
			continue;
		progress_step("%s", parts[i].what);
		if (parts[i].measure(bench, &herd) < 0)
			bench_fail(bench, parts[i].what, herd.why);
		herd_close(&herd);
	}
	if (bench_wants(bench, "P15"))
		growth_run(bench);
}
