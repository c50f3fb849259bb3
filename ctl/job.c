/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/maps.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

static const char *const state_names[] = {
	[JOB_QUEUED] = "queued",
	[JOB_RUNNING] = "running",
	[JOB_DONE] = "done",
	[JOB_FAILED] = "failed",
	[JOB_CANCELLED] = "cancelled",
};
static_assert(ARRAY_SIZE(state_names) == JOB_STATE_COUNT, "every state has a name");

static const char *const phase_names[] = {
	[PHASE_WAITING] = "waiting",
	[PHASE_MAPPERS] = "mappers",
	[PHASE_STAGING] = "zap",
	[PHASE_DROPPING] = "trim",
	[PHASE_DWELL] = "dwell",
	[PHASE_WRITING] = "write",
	[PHASE_READING] = "read",
	[PHASE_CHECKING] = "check",
	[PHASE_RELEASING] = "release",
	[PHASE_ATTACHING] = "attach",
	[PHASE_ENDED] = "ended",
};
static_assert(ARRAY_SIZE(phase_names) == PHASE_COUNT, "every phase has a name");

struct job *job_new(uint64_t id, enum command command, const char *vm_name)
{
	struct job *job = calloc(1, sizeof(*job));

	ASSERT(strlen(vm_name) < VM_NAME_BYTES);
	if (!job)
		return NULL;
	job->id = id;
	job->command = command;
	(void)snprintf(job->vm_name, sizeof(job->vm_name), "%s", vm_name);
	job->state = JOB_QUEUED;
	job->created_ns = clock_ns();
	return job;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	for (uint32_t i = 0; i < job->result.added_count; i++)
		close_fd(job->result.added[i].pidfd);
	free(job->result.mappers);
	attach_options_free(job->request.attach);
	free(job->request.path);
	free(job);
}

bool job_is_over(const struct job *job)
{
	return job->state != JOB_QUEUED && job->state != JOB_RUNNING;
}

void job_begin(struct job *job)
{
	ASSERT(job->state == JOB_QUEUED);
	job->state = JOB_RUNNING;
	job->started_ns = clock_ns();
}

static enum job_state state_of_outcome(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_DONE: return JOB_DONE;
	case OUTCOME_ABORTED: return JOB_CANCELLED;
	case OUTCOME_REFUSED:
	case OUTCOME_FAILED: return JOB_FAILED;
	case OUTCOME_COUNT: break;
	}
	UNREACHABLE();
}

void job_end(struct job *job)
{
	ASSERT(!job_is_over(job));
	job->state = state_of_outcome(job->result.outcome);
	job->ended_ns = clock_ns();
	if (job->started_ns == 0)
		job->started_ns = job->ended_ns;
	job_set_phase(job, PHASE_ENDED);
}

const char *job_state_name(enum job_state state)
{
	ASSERT(state < JOB_STATE_COUNT);
	return state_names[state];
}

void job_set_phase(struct job *job, enum job_phase phase)
{
	ASSERT(phase < PHASE_COUNT);
	atomic_store_explicit(&job->phase, (int)phase, memory_order_relaxed);
}

uint64_t job_pages(const struct job *job)
{
	return atomic_load_explicit(&job->base_pages, memory_order_relaxed) +
	       atomic_load_explicit(&job->control.pages_done, memory_order_relaxed);
}

uint64_t job_time_ms(const struct job *job)
{
	uint64_t end_ns = job->ended_ns != 0 ? job->ended_ns : clock_ns();

	return job->started_ns == 0 ? 0 : (end_ns - job->started_ns) / NS_PER_MS;
}

/* "dwell, 12 s left" */
static json_t *phase_json(const struct job *job)
{
	int phase = atomic_load_explicit(&job->phase, memory_order_relaxed);
	uint64_t ready_ns = atomic_load_explicit(&job->ready_ns, memory_order_relaxed);
	uint64_t now_ns = clock_ns();

	ASSERT(phase >= 0 && phase < PHASE_COUNT);
	if (phase == PHASE_DWELL && ready_ns > now_ns)
		return json_sprintf("%s, %llu s left", phase_names[phase],
			(unsigned long long)divide_up(ready_ns - now_ns, NS_PER_S));
	return json_string(phase_names[phase]);
}

/* Absent unless a disable has left some. */
static json_t *missing_json(const struct job *job)
{
	json_t *runs;

	if (!job_is_over(job) || job->result.missing_count == 0)
		return NULL;
	runs = json_array();
	for (uint32_t i = 0; i < job->result.missing_count; i++)
		(void)json_array_append_new(runs,
			json_pack("{s:I, s:I}", "page", (json_int_t)job->result.missing[i].first,
				"pages", (json_int_t)job->result.missing[i].count));
	return runs;
}

json_t *job_json(const struct job *job)
{
	bool is_over = job_is_over(job);
	uint64_t total = atomic_load_explicit(&job->pages_total, memory_order_relaxed);
	uint64_t pages = job_pages(job);
	const char *error = is_over && job->state == JOB_FAILED ? job->result.problem.text : NULL;

	return json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s?, s:o*}",
		"job", (json_int_t)job->id, "vm", job->vm_name, "operation",
		command_name(job->command), "state", job_state_name(job->state), "pages",
		(json_int_t)pages, "pages_total", (json_int_t)MAX(total, pages), "left_pages",
		(json_int_t)(is_over ? job->result.left_pages : 0), "bytes",
		(json_int_t)(is_over ? job->result.bytes : 0), "bad_pages",
		(json_int_t)(is_over ? job->result.bad_pages : 0), "mended_pages",
		(json_int_t)(is_over ? job->result.mended_pages : 0), "elapsed_ms",
		(json_int_t)job_time_ms(job), "phase", phase_json(job), "error", error, "missing",
		missing_json(job));
}
