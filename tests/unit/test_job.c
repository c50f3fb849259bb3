/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/job.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static struct job *job_of(enum command command)
{
	struct job *job = job_new(7, command, "guest");

	cr_assert_not_null(job);
	return job;
}

Test(job, a_new_job_is_queued_and_has_taken_no_time)
{
	struct job *job = job_of(COMMAND_TRIM);

	json_t *json = job_json(job);

	cr_assert_not_null(json);
	cr_expect_eq(number_of(json, "job"), 7);
	cr_expect_str_eq(text_of(json, "vm"), "guest");
	cr_expect_str_eq(text_of(json, "operation"), "trim");
	cr_expect_str_eq(text_of(json, "state"), "queued");
	cr_expect_eq(number_of(json, "elapsed_ms"), 0);
	cr_expect(json_is_null(json_object_get(json, "error")));
	json_decref(json);
	job_free(job);
}

Test(job, pages_are_those_of_ended_dispatches_and_of_the_one_that_runs)
{
	struct job *job = job_of(COMMAND_SWAP_OUT);

	job_begin(job);
	atomic_store(&job->base_pages, 100);
	atomic_store(&job->control.pages_done, 23);
	atomic_store(&job->pages_total, 50);
	json_t *json = job_json(job);

	cr_expect_eq(number_of(json, "pages"), 123);
	cr_expect_eq(number_of(json, "pages_total"), 123, "never less than what is done");
	json_decref(json);
	job_free(job);
}

Test(job, a_failed_job_says_why)
{
	struct job *job = job_of(COMMAND_SWAP_OUT);

	job_begin(job);
	job->result.outcome = OUTCOME_FAILED;
	(void)problem_set(&job->result.problem, -ENOSPC, "store-full", "the store is full");
	job_end(job);
	json_t *json = job_json(job);

	cr_expect(job_is_over(job));
	cr_expect_str_eq(text_of(json, "state"), "failed");
	cr_expect_str_eq(text_of(json, "error"), "the store is full");
	cr_expect_str_eq(text_of(json, "phase"), "ended");
	json_decref(json);
	job_free(job);
}

Test(job, a_refused_job_has_failed_and_an_aborted_one_is_cancelled)
{
	struct job *refused = job_of(COMMAND_ENABLE);
	struct job *aborted = job_of(COMMAND_ENABLE);

	refused->result.outcome = OUTCOME_REFUSED;
	job_end(refused);
	aborted->result.outcome = OUTCOME_ABORTED;
	job_end(aborted);

	cr_expect_str_eq(job_state_name(refused->state), "failed");
	cr_expect_str_eq(job_state_name(aborted->state), "cancelled");
	job_free(refused);
	job_free(aborted);
}

Test(job, descriptors_that_nobody_took_are_closed_with_the_job)
{
	struct job *job = job_of(COMMAND_ATTACH);
	struct attach_options *options = attach_options_new();
	int channel = open("/dev/null", O_RDONLY);
	int uffd = open("/dev/null", O_RDONLY);
	int memfd = open("/dev/null", O_RDONLY);

	options->channel = channel;
	options->uffds[0] = uffd;
	options->uffd_count = 1;
	options->regions[0].memfd = memfd;
	options->region_count = 1;
	job->request.attach = options;
	job_free(job);

	cr_expect_eq(fcntl(channel, F_GETFD), -1);
	cr_expect_eq(fcntl(uffd, F_GETFD), -1);
	cr_expect_eq(fcntl(memfd, F_GETFD), -1);
}
