/* SPDX-License-Identifier: Apache-2.0 */
/* Traces as the daemon writes and vmswap-bench reads them; files that are none. */
#include "perf/client/trace.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/trace_file.h"
#include "engine/engine.h"
#include "queue/base/bits.h"

#define PAGES 1000u

static char directory[] = "/tmp/test_trace.XXXXXX";
static char path[64];
static const char *why;

static void open_directory(void)
{
	cr_assert_not_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/trace", directory);
	why = NULL;
}

static void close_directory(void)
{
	(void)unlink(path);
	(void)rmdir(directory);
}

TestSuite(trace, .init = open_directory, .fini = close_directory);

static struct recorded_fault fault(
	uint64_t time_ns, uint32_t page, enum latency kind, bool is_write)
{
	return (struct recorded_fault){
		.time_ns = time_ns, .page = page, .kind = (uint8_t)kind, .is_write = is_write};
}

static void save(struct recorded_fault *faults, uint64_t count, uint64_t dropped)
{
	const struct recording recording = {.fault = faults, .count = count, .dropped = dropped};
	const int fd = trace_file_create(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(trace_file_write(fd, &recording, PAGES), 0);
}

/* Some touches, page 7 twice. */
static void save_some(void)
{
	struct recorded_fault faults[] = {
		fault(5, 7, LATENCY_STAGED, false),
		fault(5, 999, LATENCY_FILE, true),
		fault(6, 7, LATENCY_FILE, true),
		fault(9, 0, LATENCY_ZERO, true),
	};

	save(faults, ARRAY_SIZE(faults), 3);
}

static void put(const void *data, size_t size, off_t offset)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, data, size, offset), (ssize_t)size);
	(void)close(fd);
}

static void check_refused(const char *reason)
{
	struct trace trace = {.count = 77};

	cr_assert_eq(trace_load(path, &trace, &why), -EINVAL);
	cr_assert_str_eq(why, reason);
	cr_assert_eq(trace.count, 77, "the output is written on success only");
}

Test(trace, what_was_saved_is_loaded_each_page_once)
{
	struct trace trace;

	save_some();

	cr_assert_eq(trace_load(path, &trace, &why), 0);

	cr_assert_eq(trace.vm_pages, PAGES);
	cr_assert_eq(trace.entries, 4);
	cr_assert_eq(trace.dropped, 3);
	cr_assert_eq(trace.count, 3);
	cr_assert_arr_eq(trace.page, ((uint32_t[]){7, 999, 0}), 3 * sizeof(uint32_t));
	cr_assert_arr_eq(trace.time_ns, ((uint64_t[]){5, 5, 9}), 3 * sizeof(uint64_t));
	cr_assert_arr_eq(trace.is_write, ((uint8_t[]){0, 1, 1}), 3);
	cr_assert_arr_eq(trace.kind_count, ((uint64_t[]){1, 1, 1}), 3 * sizeof(uint64_t));
	trace_free(&trace);
}

Test(trace, a_trace_without_entries_is_one)
{
	struct trace trace;
	uint32_t *order;
	uint64_t count;

	save(NULL, 0, 0);

	cr_assert_eq(trace_load(path, &trace, &why), 0);

	cr_assert_eq(trace.count, 0);
	cr_assert_eq(trace_first_touches(&trace, TRACE_DENSE, PAGES, &order, &count), 0);
	cr_assert_eq(count, 0);
	free(order);
	trace_free(&trace);
}

Test(trace, the_order_is_as_recorded_or_dense_and_fits_the_client)
{
	struct trace trace;
	uint32_t *order;
	uint64_t count;

	save_some();
	cr_assert_eq(trace_load(path, &trace, &why), 0);

	cr_assert_eq(trace_first_touches(&trace, TRACE_AS_RECORDED, PAGES, &order, &count), 0);
	cr_assert_eq(count, 3);
	cr_assert_arr_eq(order, ((uint32_t[]){7, 999, 0}), 3 * sizeof(uint32_t));
	free(order);
	cr_assert_eq(trace_first_touches(&trace, TRACE_AS_RECORDED, 999, &order, &count), 0);
	cr_assert_eq(count, 2);
	cr_assert_arr_eq(order, ((uint32_t[]){7, 0}), 2 * sizeof(uint32_t));
	free(order);
	cr_assert_eq(trace_first_touches(&trace, TRACE_DENSE, 3, &order, &count), 0);
	cr_assert_eq(count, 3);
	cr_assert_arr_eq(order, ((uint32_t[]){1, 2, 0}), 3 * sizeof(uint32_t));
	free(order);
	trace_free(&trace);
}

Test(trace, a_long_trace_is_read_whole)
{
	static struct recorded_fault faults[10001];
	struct trace trace;

	for (uint32_t i = 0; i < ARRAY_SIZE(faults); i++)
		faults[i] = fault(i, i * 7 % PAGES, LATENCY_STAGED, false);
	save(faults, ARRAY_SIZE(faults), 0);

	cr_assert_eq(trace_load(path, &trace, &why), 0);

	cr_assert_eq(trace.entries, ARRAY_SIZE(faults));
	cr_assert_eq(trace.count, PAGES);
	cr_assert_eq(trace.page[PAGES - 1], (PAGES - 1) * 7 % PAGES);
	trace_free(&trace);
}

Test(trace, the_file_is_new_and_for_its_owner_only)
{
	struct stat status;

	save_some();

	cr_assert_eq(stat(path, &status), 0);
	cr_assert_eq(status.st_mode & 07777, 0600);
	cr_assert_eq(trace_file_create(path), -EEXIST);
	(void)unlink(path);
	cr_assert_eq(symlink("/tmp/elsewhere", path), 0);
	cr_assert_eq(trace_file_create(path), -EEXIST);
}

Test(trace, a_full_disk_is_told)
{
	const struct recording recording = {.count = 0};
	const int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	cr_assert_eq(trace_file_write(fd, &recording, PAGES), -ENOSPC);
}

Test(trace, a_header_that_makes_no_sense_is_refused)
{
	const struct {
		uint64_t value;
		size_t size;
		off_t offset;
		const char *reason;
	} cases[] = {
		{'x', 1, 0, "the file is no trace"},
		{'x', 1, 7, "the file is no trace"},
		{0, 4, 8, "the trace is of another version"},
		{2, 4, 8, "the trace is of another version"},
		{2 * MIB, 4, 12, "the pages of the trace are not of 4096 bytes"},
		{0, 8, 16, "the number of pages makes no sense"},
		{(uint64_t)1 << 32, 8, 16, "the number of pages makes no sense"},
		{UINT64_MAX, 8, 16, "the number of pages makes no sense"},
		{3, 8, 24, "the file is not as long as its header says"},
		{5, 8, 24, "the file is not as long as its header says"},
		{TRACE_ENTRIES_MAX + 1, 8, 24, "the trace has too many entries"},
		/* times 16 it is 4 again */
		{((uint64_t)1 << 60) + 4, 8, 24, "the trace has too many entries"},
		{1, 1, 63, "the header has unknown content"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		save_some();
		put(&cases[i].value, cases[i].size, cases[i].offset);
		check_refused(cases[i].reason);
		(void)unlink(path);
	}
}

Test(trace, an_entry_that_makes_no_sense_is_refused)
{
	const struct {
		uint64_t value;
		size_t size;
		off_t offset; /* in the last entry */
		const char *reason;
	} cases[] = {
		{0, 8, 0, "the entries are not in order of time"},
		{PAGES, 4, 8, "a page is out of range"},
		{UINT32_MAX, 4, 8, "a page is out of range"},
		{TRACE_KINDS, 1, 12, "an entry has unknown content"},
		{2, 1, 13, "an entry has unknown content"},
		{1, 2, 14, "an entry has unknown content"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		save_some();
		put(&cases[i].value, cases[i].size, 64 + 3 * 16 + cases[i].offset);
		check_refused(cases[i].reason);
		(void)unlink(path);
	}
}

Test(trace, a_file_cut_anywhere_is_refused)
{
	for (off_t size = 0; size < 64 + 4 * 16; size++) {
		save_some();
		cr_assert_eq(truncate(path, size), 0);
		check_refused(size < 64 ? "the file is too short for a trace"
					: "the file is not as long as its header says");
		(void)unlink(path);
	}
}

Test(trace, bytes_behind_the_last_entry_are_refused)
{
	save_some();
	put("", 1, 64 + 4 * 16);

	check_refused("the file is not as long as its header says");
}

Test(trace, what_is_no_file_is_refused)
{
	struct trace trace;

	cr_assert_eq(trace_load(path, &trace, &why), -ENOENT);
	cr_assert_not_null(why);
	cr_assert_eq(mkfifo(path, 0600), 0);
	check_refused("not a regular file");
	cr_assert_eq(trace_load(directory, &trace, &why), -EINVAL);
}

/* Every entry of a shipped trace is a first touch, and nothing is missing. */
Test(trace, the_shipped_traces_are_complete_and_small)
{
	static const char *const names[] = {"boot", "database"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char shipped[256];
		struct stat status;
		struct trace trace;

		(void)snprintf(shipped, sizeof(shipped), "%s/%s.trace", TRACES, names[i]);
		cr_assert_eq(stat(shipped, &status), 0, "%s", shipped);
		cr_assert_leq((uint64_t)status.st_size, 400 * KIB);
		cr_assert_eq(trace_load(shipped, &trace, &why), 0, "%s: %s", shipped, why);
		cr_assert_eq(trace.count, trace.entries);
		cr_assert_eq(trace.dropped, 0);
		cr_assert_gt(trace.count, 5000);
		trace_free(&trace);
	}
}
