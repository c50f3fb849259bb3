/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/rescue/report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/rescue/result.h"
#include "ctl/supervisor/state_dir.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

#define GAP_NS (200 * NS_PER_MS)

struct report {
	const char *state_dir;
	json_t *root;
	json_t *vms;
	json_t *vm; /* the last of vms */
	uint64_t written_ns;
};

/* A report that cannot be written is no reason to leave guests waiting. */
static void write_now(struct report *report)
{
	CLEANUP_FREE char *text = json_dumps(report->root, JSON_COMPACT);
	const int rc = text ? state_dir_write(report->state_dir, STATE_DIR_RESCUE, text) : -ENOMEM;

	if (rc < 0)
		log_error("no %s in %s: %s", STATE_DIR_RESCUE, report->state_dir, strerror(-rc));
	report->written_ns = clock_ns();
}

struct report *report_new(const char *state_dir)
{
	struct report *report = calloc(1, sizeof(*report));

	if (!report)
		return NULL;
	report->state_dir = state_dir;
	report->vms = json_array();
	report->root = json_pack("{s:s, s:i, s:n, s:O}", "state", "running", "pid", (int)getpid(),
		"problem", "vms", report->vms);
	if (!report->root) {
		report_free(report);
		return NULL;
	}
	write_now(report);
	return report;
}

void report_free(struct report *report)
{
	if (!report)
		return;
	json_decref(report->root);
	json_decref(report->vms);
	free(report);
}

void report_begin_vm(struct report *report, const char *name, uint64_t pages)
{
	report->vm = json_pack("{s:s, s:s, s:I, s:i, s:i, s:i, s:i, s:[], s:n}", "vm", name,
		"state", "running", "pages_total", (json_int_t)pages, "pages", 0, "lost_pages", 0,
		"unread_pages", 0, "left_pages", 0, "lost", "problem");
	(void)json_array_append_new(report->vms, report->vm);
	write_now(report);
}

static void set_number(json_t *object, const char *key, uint64_t number)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)number));
}

void report_progress(struct report *report, const struct rescue_result *result)
{
	json_t *lost = json_array();

	set_number(report->vm, "pages", result->pages);
	set_number(report->vm, "lost_pages", result->lost_pages);
	set_number(report->vm, "unread_pages", result->unread_pages);
	set_number(report->vm, "left_pages", result->left_pages);
	for (uint32_t i = 0; i < result->lost_count; i++) {
		const struct rescue_run *run = &result->lost[i];

		(void)json_array_append_new(
			lost, json_pack("{s:I, s:I, s:I}", "page", (json_int_t)run->page, "pages",
				      (json_int_t)run->count, "address", (json_int_t)run->address));
	}
	(void)json_object_set_new(report->vm, "lost", lost);
	if (clock_ns() - report->written_ns >= GAP_NS)
		write_now(report);
}

static void set_end(json_t *object, const char *state, const char *problem)
{
	(void)json_object_set_new(object, "state", json_string(state));
	(void)json_object_set_new(object, "problem", problem ? json_string(problem) : json_null());
}

void report_end_vm(struct report *report, const char *state, const char *problem)
{
	set_end(report->vm, state, problem);
	write_now(report);
}

void report_end(struct report *report, const char *state, const char *problem)
{
	set_end(report->root, state, problem);
	write_now(report);
}
