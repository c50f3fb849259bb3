/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswapctl/status.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "tools/vmswapctl/table.h"
#include "tools/vmswapctl/units.h"

uint64_t status_number(const json_t *object, const char *key)
{
	json_int_t number = json_integer_value(json_object_get(object, key));

	return number > 0 ? (uint64_t)number : 0;
}

const char *status_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* Writes "a, b, c" of an array of strings or numbers. */
static void write_array(FILE *stream, const json_t *array, const char *gap)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);
		const json_t *pid = json_is_object(item) ? json_object_get(item, "pid") : item;

		(void)fputs(i > 0 ? gap : "", stream);
		if (json_is_string(pid))
			(void)fputs(json_string_value(pid), stream);
		else
			(void)fprintf(stream, "%lld", (long long)json_integer_value(pid));
	}
}

char *status_pids(const json_t *array)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return strdup("");
	write_array(stream, array, ",");
	(void)fclose(stream);
	return text;
}

static void print_line(const char *title, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void print_line(const char *title, const char *format, ...)
{
	CLEANUP_FREE char *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	(void)printf("%-12s %s\n", title, text ? table_harmless(text) : "");
}

static void print_array_line(const char *title, const json_t *array)
{
	CLEANUP_FREE char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return;
	write_array(stream, array, " ");
	(void)fclose(stream);
	print_line(title, "%s", size > 0 ? text : "-");
}

void status_print_daemon(const json_t *daemon)
{
	const json_t *store = json_object_get(daemon, "store");
	const char *path = status_text(store, "path");
	char size[UNITS_BYTES];
	char used[UNITS_BYTES];
	char retired[UNITS_BYTES];
	char up[UNITS_BYTES];

	print_line("daemon", "%s, pid %" PRIu64 ", up %s", status_text(daemon, "version"),
		status_number(daemon, "pid"), units_clock(up, status_number(daemon, "uptime_s")));
	print_line("supervisor", "pid %" PRIu64 ", %" PRIu64 " restarts",
		status_number(daemon, "supervisor_pid"), status_number(daemon, "restarts"));
	print_line("mode", "%s%s", status_text(daemon, "mode"),
		strcmp(status_text(daemon, "mode"), "minimal") == 0
			? ": the worker died again and again; faults are served, memory comes "
			  "back, "
			  "no more"
			: "");
	print_line("socket", "%s", status_text(daemon, "socket"));
	print_line("state in", "%s%s", status_text(daemon, "state_dir"),
		json_is_true(json_object_get(daemon, "recoverable")) ? ", recoverable" : "");
	print_line("shards", "%" PRIu64, status_number(daemon, "shards"));
	print_array_line("cpus", json_object_get(daemon, "cpus"));
	print_line("store", "%s%s%s%s: %s used of %s, %s retired after errors",
		json_is_true(json_object_get(daemon, "encrypted")) ? "encrypted " : "",
		status_text(store, "kind"), *path ? " " : "", path,
		units_size(used, status_number(store, "used_bytes")),
		units_size(size, status_number(store, "size_bytes")),
		units_size(retired, status_number(store, "retired_bytes")));
	print_line("disk I/O", "%s", status_text(daemon, "io"));
	print_array_line("features", json_object_get(daemon, "features"));
	print_line("vms", "%" PRIu64, status_number(daemon, "vms"));
}

static void add_size_of_pages(struct table *table, const json_t *object, const char *key)
{
	char text[UNITS_BYTES];

	table_add(table, "%s", units_size(text, status_number(object, key) * PAGE_BYTES));
}

struct table *status_list_table(const json_t *list)
{
	struct table *table = table_new("VM|STATE|PIDS|SIZE>|RESIDENT>|STAGED>|SWAPPED>|ZERO>");
	const json_t *vms = json_object_get(list, "vms");

	for (size_t i = 0; i < json_array_size(vms); i++) {
		const json_t *vm = json_array_get(vms, i);
		const json_t *metrics = json_object_get(vm, "metrics");
		CLEANUP_FREE char *pids = status_pids(json_object_get(vm, "pids"));

		table_add(table, "%s", status_text(vm, "vm"));
		table_add(table, "%s", status_text(vm, "state"));
		table_add(table, "%s", pids ? pids : "");
		add_size_of_pages(table, vm, "pages");
		add_size_of_pages(table, metrics, "resident_pages");
		add_size_of_pages(table, metrics, "staging_pages");
		add_size_of_pages(table, metrics, "swap_pages");
		add_size_of_pages(table, metrics, "zero_pages");
	}
	return table;
}

static void print_memory(const json_t *vm)
{
	static const struct {
		const char *title, *key;
	} places[] = {
		{"resident", "resident_pages"},
		{"staged", "staging_pages"},
		{"swapped", "swap_pages"},
		{"zero", "zero_pages"},
	};
	const json_t *metrics = json_object_get(vm, "metrics");
	uint64_t pages = status_number(vm, "pages");
	char size[UNITS_BYTES];

	print_line("memory", "%s, %" PRIu64 " pages", units_size(size, pages * PAGE_BYTES), pages);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		uint64_t count = status_number(metrics, places[i].key);
		char title[16];

		(void)snprintf(title, sizeof(title), "  %s", places[i].title);
		print_line(title, "%8s %5.1f %%", units_size(size, count * PAGE_BYTES),
			pages > 0 ? 100.0 * (double)count / (double)pages : 0.0);
	}
}

/* Counters that are not 0, in the daemon's order; those above are left out. */
static void print_counters(const json_t *metrics)
{
	struct table *table = table_new("counter|>");
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)metrics, key, value)
	{
		bool is_place = strcmp(key, "resident_pages") == 0 ||
				strcmp(key, "staging_pages") == 0 ||
				strcmp(key, "swap_pages") == 0 || strcmp(key, "zero_pages") == 0;

		if (is_place || json_integer_value(value) == 0)
			continue;
		table_add(table, "%s", key);
		table_add(table, "%lld", (long long)json_integer_value(value));
	}
	if (table_row_count(table) > 1) {
		(void)printf("\n");
		table_print(table);
	}
	table_free(table);
}

static void add_latency(struct table *table, const char *kind, const json_t *latency)
{
	static const char *const keys[] = {"p50", "p99", "p99_9", "max"};
	char text[UNITS_BYTES];

	table_add(table, "%s", kind);
	table_add(table, "%" PRIu64, status_number(latency, "count"));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		table_add(table, "%s",
			units_time_us(text, json_number_value(json_object_get(latency, keys[i]))));
}

static void print_latencies(const json_t *latencies)
{
	struct table *table = table_new("faults|count>|p50>|p99>|p99.9>|max>");
	const char *kind;
	json_t *latency;

	json_object_foreach((json_t *)(uintptr_t)latencies, kind, latency)
		add_latency(table, kind, latency);
	if (table_row_count(table) > 1) {
		(void)printf("\n");
		table_print(table);
	}
	table_free(table);
}

static void print_work(const json_t *vm)
{
	const json_t *job = json_object_get(vm, "job");
	const json_t *transition = json_object_get(vm, "transition");
	const char *operation = status_text(transition, "operation");
	const char *failure = status_text(vm, "failure");

	if (*operation && strcmp(operation, "none") != 0)
		print_line("last", "%s: %" PRIu64 " pages in %" PRIu64 " ms", operation,
			status_number(transition, "pages"), status_number(transition, "time_ms"));
	if (json_is_object(job))
		print_line("job", "%" PRIu64 ", %s: %" PRIu64 " of %" PRIu64 " pages, %s",
			status_number(job, "job"), status_text(job, "operation"),
			status_number(job, "pages"), status_number(job, "pages_total"),
			status_text(job, "phase"));
	if (*failure)
		print_line("failure", "%s", failure);
}

static void print_mappers(const json_t *mappers)
{
	for (size_t i = 0; i < json_array_size(mappers); i++) {
		const json_t *mapper = json_array_get(mappers, i);

		print_line(i == 0 ? "mappers" : "", "%" PRIu64 " %s", status_number(mapper, "pid"),
			status_text(mapper, "comm"));
	}
}

void status_print_vm(const json_t *vm)
{
	const json_t *attach = json_object_get(vm, "attach");
	char stopped[UNITS_BYTES];

	print_line("vm", "%s", status_text(vm, "vm"));
	print_line("state", "%s", status_text(vm, "state"));
	print_work(vm);
	print_array_line("pids", json_object_get(vm, "pids"));
	print_mappers(json_object_get(vm, "mappers"));
	print_line("attach", "stopped for %s, zap %s, dwell %" PRIu64 " ms, %" PRIu64 " shards",
		units_time_us(stopped, (double)status_number(attach, "stopped_us")),
		status_text(vm, "zap"), status_number(vm, "dwell_ms"), status_number(vm, "shards"));
	print_memory(vm);
	print_latencies(json_object_get(vm, "fault_latency_us"));
	print_counters(json_object_get(vm, "metrics"));
}
