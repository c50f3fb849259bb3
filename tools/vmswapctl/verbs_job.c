/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that start, show and stop jobs: enable, trim, swap-out, disable, scrub, jobs, cancel. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "tools/vmswapctl/ask.h"
#include "tools/vmswapctl/progress.h"
#include "tools/vmswapctl/status.h"
#include "tools/vmswapctl/table.h"
#include "tools/vmswapctl/units.h"

/* Between two looks at a job: the eye takes that for smooth. */
#define LOOK_MS 200
/* How much longer than asked the daemon may take for an answer to a look. */
#define LOOK_ANSWER_MS 30000

/* A job that is waited for. */
struct watch {
	json_int_t id;
	bool has_bar;
	uint64_t deadline_ns; /* UINT64_MAX: none */
};

static const char *method_of(const char *verb)
{
	static const struct {
		const char *verb, *method;
	} methods[] = {
		{"enable", "vm.enable"},
		{"trim", "vm.trim"},
		{"swap-out", "vm.swap_out"},
		{"disable", "vm.disable"},
		{"scrub", "vm.scrub"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (strcmp(methods[i].verb, verb) == 0)
			return methods[i].method;
	UNREACHABLE();
}

/* The job of @id in a result of job.list; NULL: not there. Borrowed. */
static const json_t *find_job(const json_t *list, json_int_t id)
{
	const json_t *jobs = json_object_get(list, "jobs");

	for (size_t i = 0; i < json_array_size(jobs); i++) {
		const json_t *job = json_array_get(jobs, i);

		if (json_integer_value(json_object_get(job, "job")) == id)
			return job;
	}
	return NULL;
}

static enum status draw_job(struct invocation *invocation, const struct watch *watch)
{
	json_t *list;
	const json_t *job;
	enum status status = ask(invocation, "job.list", NULL, &list);

	if (status != STATUS_OK)
		return status;
	job = find_job(list, watch->id);
	if (job)
		progress_draw(job);
	json_decref(list);
	return STATUS_OK;
}

static int next_look_ms(const struct watch *watch)
{
	uint64_t now_ns = clock_ns();
	/* Without a bar there is nothing to look at: one long wait. */
	uint64_t look_ms = watch->has_bar ? LOOK_MS : LOOK_ANSWER_MS;

	if (watch->deadline_ns <= now_ns)
		return 0;
	return (int)MIN(look_ms, (watch->deadline_ns - now_ns) / NS_PER_MS + 1);
}

/* Waits until the job has ended; ret_job: how. */
static enum status wait_job(
	struct invocation *invocation, const struct watch *watch, json_t **ret_job)
{
	for (;;) {
		int look_ms = next_look_ms(watch);
		json_t *response;
		enum status status = ask_raw(invocation, "job.wait",
			json_pack("{s:I, s:i}", "job", watch->id, "timeout_ms", look_ms),
			look_ms + LOOK_ANSWER_MS, &response);

		if (status != STATUS_OK)
			return status;
		if (ask_error_code(response) == 0) {
			*ret_job = json_incref(json_object_get(response, "result"));
			json_decref(response);
			return STATUS_OK;
		}
		if (ask_error_code(response) != CALL_TIMEOUT || look_ms == 0)
			status = ask_complain(invocation, response);
		else if (watch->has_bar)
			status = draw_job(invocation, watch);
		json_decref(response);
		if (status != STATUS_OK)
			return status;
	}
}

static void print_done(const json_t *job)
{
	char size[UNITS_BYTES];
	char time[UNITS_BYTES];
	uint64_t left = status_number(job, "left_pages");

	(void)printf("%s done: %s in %s", status_text(job, "operation"),
		units_size(size, status_number(job, "pages") * PAGE_BYTES),
		units_time_us(time, 1e3 * (double)status_number(job, "elapsed_ms")));
	if (left > 0)
		(void)printf("; %s stayed", units_size(size, left * PAGE_BYTES));
	(void)printf("\n");
}

static void print_scrubbed(const json_t *job)
{
	char size[UNITS_BYTES];
	char time[UNITS_BYTES];

	(void)printf("scrub done: %s checked in %s, %" PRIu64 " pages bad, %" PRIu64
		     " mended from RAM\n",
		units_size(size, status_number(job, "pages") * PAGE_BYTES),
		units_time_us(time, 1e3 * (double)status_number(job, "elapsed_ms")),
		status_number(job, "bad_pages"), status_number(job, "mended_pages"));
}

static enum status report_end(const struct invocation *invocation, const json_t *job)
{
	const char *state = status_text(job, "state");
	const char *error = status_text(job, "error");

	if (invocation->is_json)
		ask_print_json(job);
	if (strcmp(state, "done") != 0)
		return complain(invocation, STATUS_FAILED, "job %" PRIu64 " %s%s%s",
			status_number(job, "job"), state, *error ? ": " : "", error);
	if (!invocation->is_json && strcmp(status_text(job, "operation"), "scrub") == 0)
		print_scrubbed(job);
	else if (!invocation->is_json)
		print_done(job);
	return status_number(job, "bad_pages") > 0 ? STATUS_FAILED : STATUS_OK;
}

static enum status watch_job(struct invocation *invocation, json_int_t id)
{
	struct watch watch = {
		.id = id, .has_bar = progress_is_possible(), .deadline_ns = UINT64_MAX};
	json_t *job = NULL;
	enum status status;

	if (invocation->timeout_s > 0)
		watch.deadline_ns = clock_ns() + (uint64_t)(invocation->timeout_s * 1e9);
	status = wait_job(invocation, &watch, &job);
	if (watch.has_bar)
		progress_clear();
	if (status == STATUS_OK)
		status = report_end(invocation, job);
	json_decref(job);
	return status;
}

enum status verb_operation(struct invocation *invocation)
{
	const json_t *options = invocation->options;
	json_t *params = json_pack("{s:s}", "vm", invocation->arguments[0]);
	json_t *result;
	json_int_t id;
	enum status status;

	if (json_object_get(options, "slow_cleanup"))
		(void)json_object_set_new(params, "slow_cleanup", json_true());
	if (json_object_get(options, "poison_unreadable"))
		(void)json_object_set_new(params, "poison_unreadable", json_true());
	if (json_object_get(options, "rate_bytes"))
		(void)json_object_set(params, "rate_bytes", json_object_get(options, "rate_bytes"));
	status = ask(invocation, method_of(invocation->verb->name), params, &result);
	if (status != STATUS_OK)
		return status;
	id = json_integer_value(json_object_get(result, "job"));
	if (json_object_get(options, "wait"))
		status = watch_job(invocation, id);
	else if (invocation->is_json)
		ask_print_json(result);
	else
		(void)printf("%s of %s started as job %" JSON_INTEGER_FORMAT "\n",
			invocation->verb->name, table_harmless(invocation->arguments[0]), id);
	json_decref(result);
	return status;
}

static void add_job(struct table *table, const json_t *job)
{
	char size[UNITS_BYTES];
	char time[UNITS_BYTES];
	const char *error = status_text(job, "error");

	table_add(table, "%" PRIu64, status_number(job, "job"));
	table_add(table, "%s", status_text(job, "vm"));
	table_add(table, "%s", status_text(job, "operation"));
	table_add(table, "%s", status_text(job, "state"));
	table_add(table, "%s", units_size(size, status_number(job, "pages") * PAGE_BYTES));
	table_add(table, "%s", units_size(size, status_number(job, "pages_total") * PAGE_BYTES));
	table_add(table, "%s", units_size(size, status_number(job, "left_pages") * PAGE_BYTES));
	table_add(table, "%s", units_clock(time, status_number(job, "elapsed_ms") / 1000));
	table_add(table, "%s", *error ? error : status_text(job, "phase"));
}

enum status verb_jobs(struct invocation *invocation)
{
	json_t *result;
	enum status status = ask(invocation, "job.list", NULL, &result);

	if (status != STATUS_OK)
		return status;
	if (invocation->is_json) {
		ask_print_json(result);
	} else {
		struct table *table =
			table_new("JOB>|VM|OPERATION|STATE|DONE>|OF>|LEFT>|TIME>|PHASE");
		const json_t *jobs = json_object_get(result, "jobs");

		for (size_t i = 0; i < json_array_size(jobs); i++)
			add_job(table, json_array_get(jobs, i));
		table_print(table);
		table_free(table);
	}
	json_decref(result);
	return STATUS_OK;
}

enum status verb_cancel(struct invocation *invocation)
{
	json_t *result;
	uint64_t id;
	enum status status;

	if (!units_parse_count(invocation->arguments[0], &id))
		return complain(invocation, STATUS_MISUSE, "%s is not a job number",
			invocation->arguments[0]);
	status = ask(invocation, "job.cancel", json_pack("{s:I}", "job", (json_int_t)id), &result);
	if (status != STATUS_OK)
		return status;
	if (invocation->is_json)
		ask_print_json(result);
	else
		(void)printf("job %" PRIu64 " cancelled\n", id);
	json_decref(result);
	return STATUS_OK;
}
