/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/command/timeline.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "perf/bench/bench.h"
#include "perf/bench/gap.h"
#include "perf/bench/progress.h"
#include "perf/bench/results.h"
#include "perf/client/order.h"
#include "perf/command/herd.h"
#include "perf/contestant/daemon.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define QUICK_BYTES   (512 * MIB)
#define FULL_BYTES    (4 * GIB)
#define WORKING_SHARE 10u
#define BUCKET_US     10000u
#define BUCKETS_MAX   6000u
/* Between two looks at the page states. */
#define LOOK_MS 10

struct timeline {
	struct herd herd;
	uint64_t begin_ns;
	json_t *phases;
	json_t *states;
};

static uint64_t now_us(const struct timeline *timeline)
{
	return (clock_ns() - timeline->begin_ns) / NS_PER_US;
}

/* {"at_us","resident","staged","swapped","zero"}: shares of the pages. */
static int look(struct timeline *timeline)
{
	json_t *result = NULL;
	const json_t *metrics;
	const json_t *vm;
	double pages;
	const int error = daemon_call(timeline->herd.daemon, "vm.list", json_object(), &result);

	if (error < 0)
		return error;
	vm = json_array_get(json_object_get(result, "vms"), 0);
	metrics = json_object_get(vm, "metrics");
	pages = json_number_value(json_object_get(vm, "pages"));
	(void)json_array_append_new(timeline->states,
		json_pack("{s:I, s:f, s:f, s:f, s:f}", "at_us", (json_int_t)now_us(timeline),
			"resident",
			json_number_value(json_object_get(metrics, "resident_pages")) / pages,
			"staged",
			json_number_value(json_object_get(metrics, "staging_pages")) / pages,
			"swapped",
			json_number_value(json_object_get(metrics, "swap_pages")) / pages, "zero",
			json_number_value(json_object_get(metrics, "zero_pages")) / pages));
	json_decref(result);
	return 0;
}

static int is_over(struct timeline *timeline, json_int_t job)
{
	json_t *result = NULL;
	int is_running = 0;
	const int error = daemon_call(timeline->herd.daemon, "job.list", json_object(), &result);
	const json_t *jobs;

	if (error < 0)
		return error;
	jobs = json_object_get(result, "jobs");
	for (size_t i = 0; i < json_array_size(jobs); i++) {
		const json_t *one = json_array_get(jobs, i);
		const char *state = json_string_value(json_object_get(one, "state"));

		if (json_integer_value(json_object_get(one, "job")) == job)
			is_running = strcmp(state, "running") == 0 || strcmp(state, "queued") == 0;
	}
	json_decref(result);
	return !is_running;
}

/* One operation, looked at until it has ended. */
static int run_phase(struct timeline *timeline, const char *method, const char *name)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * (long)NS_PER_MS};
	const uint64_t begin_us = now_us(timeline);
	struct daemon_job done;
	json_int_t job;
	int over = 0;
	int error = daemon_job_begin(timeline->herd.daemon, method, "vm0", &job);

	while (error == 0 && over == 0) {
		error = look(timeline);
		if (error == 0)
			over = is_over(timeline, job);
		(void)nanosleep(&pause, NULL);
	}
	if (error == 0)
		error = over < 0 ? over : daemon_job_end(timeline->herd.daemon, job, &done);
	(void)json_array_append_new(timeline->phases,
		json_pack("{s:s, s:I, s:I}", "name", name, "begin_us", (json_int_t)begin_us,
			"end_us", (json_int_t)now_us(timeline)));
	return error;
}

static int run_phases(struct timeline *timeline)
{
	static const struct {
		const char *method, *name;
	} phases[] = {{"vm.enable", "enable"}, {"vm.trim", "trim"}, {"vm.swap_out", "swap-out"},
		{"vm.disable", "swap-in"}};
	const struct timespec pause = {.tv_nsec = 100 * (long)NS_PER_MS};
	int error = look(timeline);

	for (size_t i = 0; i < ARRAY_SIZE(phases) && error == 0; i++) {
		/* Some of the picture shows what is between. */
		(void)nanosleep(&pause, NULL);
		error = run_phase(timeline, phases[i].method, phases[i].name);
		if (error == 0)
			error = look(timeline);
	}
	return error;
}

static int begin_touching(struct timeline *timeline, uint64_t pages)
{
	const uint64_t count = pages / WORKING_SHARE;
	CLEANUP_FREE uint32_t *order = malloc(count * sizeof(*order));

	if (!order || order_make(ORDER_UNIFORM, pages, count, 1, order) < 0)
		return -ENOMEM;
	return client_touch_begin(timeline->herd.client[0], &(struct touch){
								    .order = order,
								    .count = count,
								    .threads = 1,
								    .cpu = CLIENT_ANY_CPU,
								    .is_write = true,
								    .is_endless = true,
								    .is_watch = true,
							    });
}

static json_t *draw(const struct timeline *timeline, const struct touch_result *result)
{
	static double stall_us[BUCKETS_MAX];
	const uint64_t buckets = MIN(now_us(timeline) / BUCKET_US, BUCKETS_MAX);
	json_t *stalls = json_array();

	gap_timeline(result, BUCKET_US, (uint32_t)buckets, stall_us);
	for (uint64_t i = 0; i < buckets; i++)
		(void)json_array_append_new(stalls, json_real(stall_us[i]));
	return json_pack("{s:s, s:s, s:s, s:i, s:o, s:O, s:O}", "name", "timeline", "kind",
		"timeline", "title", "Stalls of a guest, and the states of its pages", "bucket_us",
		(int)BUCKET_US, "stall_us", stalls, "phases", timeline->phases, "states",
		timeline->states);
}

static int run(struct bench *bench, struct timeline *timeline)
{
	const struct client_config config = {
		.pages = bench_size(bench, QUICK_BYTES, FULL_BYTES) / PAGE_BYTES,
		.zero_percent = 10,
	};
	struct touch_result result;
	int error = herd_open(&timeline->herd, bench, 1, 2, &config);
	int end_error;

	if (error == 0)
		error = begin_touching(timeline, config.pages);
	if (error < 0)
		return error;
	timeline->begin_ns = clock_ns();
	error = run_phases(timeline);
	end_error = client_touch_end(timeline->herd.client[0], &result);
	if (error == 0 && end_error == 0)
		results_add_series(bench->results, draw(timeline, &result));
	return error < 0 ? error : end_error;
}

void timeline_run(struct bench *bench)
{
	struct timeline timeline = {.phases = json_array(), .states = json_array()};

	progress_step("timeline");
	if (run(bench, &timeline) < 0)
		bench_fail(bench, "timeline",
			timeline.herd.daemon ? daemon_why(timeline.herd.daemon)
					     : timeline.herd.why);
	progress_end();
	herd_close(&timeline.herd);
	json_decref(timeline.phases);
	json_decref(timeline.states);
}
