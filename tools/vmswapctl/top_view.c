/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswapctl/top_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "tools/vmswapctl/ask.h"
#include "tools/vmswapctl/status.h"
#include "tools/vmswapctl/table.h"
#include "tools/vmswapctl/units.h"

/* Adds the status of one VM; one that has gone since the list was made is left out. */
static enum status add_vm(struct invocation *invocation, const char *name, json_t *statuses)
{
	json_t *response;
	enum status status = ask_raw(invocation, "vm.status", json_pack("{s:s}", "vm", name),
		ask_timeout_ms(invocation), &response);
	int code;

	if (status != STATUS_OK)
		return status;
	code = ask_error_code(response);
	if (code == 0)
		(void)json_object_set(statuses, name, json_object_get(response, "result"));
	else if (code != CALL_NOT_FOUND)
		status = ask_complain(invocation, response);
	json_decref(response);
	return status;
}

static enum status add_vms(struct invocation *invocation, json_t *statuses)
{
	json_t *list;
	enum status status = ask(invocation, "vm.list", NULL, &list);
	const json_t *vms;

	if (status != STATUS_OK)
		return status;
	vms = json_object_get(list, "vms");
	for (size_t i = 0; status == STATUS_OK && i < json_array_size(vms); i++)
		status = add_vm(invocation, status_text(json_array_get(vms, i), "vm"), statuses);
	json_decref(list);
	return status;
}

enum status top_look_take(struct invocation *invocation, struct top_look *ret_look)
{
	ASSERT(invocation && ret_look);
	struct top_look look = {.time_ns = clock_ns()};
	enum status status = ask(invocation, "daemon.status", NULL, &look.daemon);

	if (status != STATUS_OK)
		return status;
	look.statuses = json_object();
	status = add_vms(invocation, look.statuses);
	if (status == STATUS_OK)
		*ret_look = look;
	else
		top_look_done(&look);
	return status;
}

void top_look_done(struct top_look *look)
{
	json_decref(look->daemon);
	json_decref(look->statuses);
	*look = (struct top_look){0};
}

static uint64_t sum(const struct top_look *look, const char *key)
{
	const char *name;
	json_t *vm;
	uint64_t total = 0;

	json_object_foreach(look->statuses, name, vm) total +=
		status_number(json_object_get(vm, "metrics"), key);
	return total;
}

char *top_summary(const struct top_look *look)
{
	ASSERT(look->daemon);
	const json_t *store = json_object_get(look->daemon, "store");
	char resident[UNITS_BYTES];
	char staged[UNITS_BYTES];
	char swapped[UNITS_BYTES];
	char used[UNITS_BYTES];
	char size[UNITS_BYTES];
	char *text;

	if (asprintf(&text, "%zu VMs: %s resident, %s staged, %s swapped; store %s of %s",
		    json_object_size(look->statuses),
		    units_size(resident, sum(look, "resident_pages") * PAGE_BYTES),
		    units_size(staged, sum(look, "staging_pages") * PAGE_BYTES),
		    units_size(swapped, sum(look, "swap_pages") * PAGE_BYTES),
		    units_size(used, status_number(store, "used_bytes")),
		    units_size(size, status_number(store, "size_bytes"))) < 0)
		return NULL;
	return text;
}

static uint64_t faults(const json_t *vm)
{
	const json_t *metrics = json_object_get(vm, "metrics");

	return status_number(metrics, "faults_staged") + status_number(metrics, "faults_file") +
	       status_number(metrics, "faults_zero");
}

static void add_rate(struct table *table, const struct top_look *before,
	const struct top_look *look, const char *name)
{
	const json_t *old = json_object_get(before->statuses, name);
	const json_t *now = json_object_get(look->statuses, name);

	/* A VM of the same name that was attached anew counts from 0 again. */
	if (!old || look->time_ns <= before->time_ns || faults(now) < faults(old)) {
		table_add(table, "-");
		return;
	}
	table_add(table, "%.0f",
		(double)(faults(now) - faults(old)) * 1e9 /
			(double)(look->time_ns - before->time_ns));
}

static void add_p99(struct table *table, const json_t *vm, const char *kind)
{
	const json_t *latency = json_object_get(json_object_get(vm, "fault_latency_us"), kind);
	char text[UNITS_BYTES];

	if (status_number(latency, "count") == 0)
		table_add(table, "-");
	else
		table_add(table, "%s",
			units_time_us(text, json_number_value(json_object_get(latency, "p99"))));
}

static void add_places(struct table *table, const json_t *vm)
{
	static const char *const keys[] = {
		"resident_pages", "staging_pages", "swap_pages", "zero_pages"};
	const json_t *metrics = json_object_get(vm, "metrics");
	char text[UNITS_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		table_add(table, "%s",
			units_size(text, status_number(metrics, keys[i]) * PAGE_BYTES));
}

struct table *top_table(const struct top_look *before, const struct top_look *look)
{
	ASSERT(before && look->statuses);
	struct table *table = table_new("VM|STATE|RESIDENT>|STAGED>|SWAPPED>|ZERO>|FAULTS/s>|"
					"STAGED p99>|FILE p99>|ZERO p99>");
	const char *name;
	json_t *vm;

	json_object_foreach(look->statuses, name, vm)
	{
		table_add(table, "%s", name);
		table_add(table, "%s", status_text(vm, "state"));
		add_places(table, vm);
		add_rate(table, before, look, name);
		add_p99(table, vm, "staged");
		add_p99(table, vm, "file");
		add_p99(table, vm, "zero");
	}
	return table;
}
