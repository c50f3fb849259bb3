/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/waiter.h"

#include <criterion/criterion.h>

#include "ctl/methods_priv.h"
#include "queue/base/clock.h"

/* Never looked into. */
#define CALL ((struct call *)(uintptr_t)64)

static bool is_for_job(const struct waiter *waiter, const void *context)
{
	return waiter->job_id == *(const uint64_t *)context;
}

static void add(struct waiter_list *list, uint64_t job_id, uint64_t deadline_ns)
{
	struct waiter waiter = {
		.kind = WAIT_JOB, .call = CALL, .job_id = job_id, .deadline_ns = deadline_ns};

	cr_assert_eq(waiter_add(list, &waiter), 0);
}

static uint32_t take_all(struct waiter_list *list, uint64_t job_id)
{
	struct waiter waiter;
	uint32_t count = 0;

	while (waiter_take(list, is_for_job, &job_id, &waiter)) {
		cr_expect_eq(waiter.job_id, job_id);
		count++;
	}
	return count;
}

Test(waiter, every_waiter_that_matches_is_taken_once)
{
	struct waiter_list list = {.item = NULL};

	for (uint64_t i = 0; i < 100; i++)
		add(&list, i % 3, UINT64_MAX);

	cr_expect_eq(take_all(&list, 0), 34);
	cr_expect_eq(take_all(&list, 0), 0);
	cr_expect_eq(take_all(&list, 1), 33);
	cr_expect_eq(take_all(&list, 2), 33);
	waiter_free(&list);
}

Test(waiter, the_earliest_deadline_counts)
{
	struct waiter_list list = {.item = NULL};

	cr_expect_eq(waiter_deadline(&list), UINT64_MAX);
	add(&list, 1, 500);
	add(&list, 2, 300);
	add(&list, 3, UINT64_MAX);

	cr_expect_eq(waiter_deadline(&list), 300);
	cr_expect_eq(take_all(&list, 2), 1);
	cr_expect_eq(waiter_deadline(&list), 500);
	cr_expect_eq(take_all(&list, 1), 1);
	cr_expect_eq(take_all(&list, 3), 1);
	waiter_free(&list);
}

Test(waiter, a_timeout_beyond_the_clock_is_never)
{
	cr_expect_eq(methods_deadline(-1), UINT64_MAX);
	cr_expect_eq(methods_deadline(INT64_MAX), UINT64_MAX);
	cr_expect_eq(methods_deadline((json_int_t)(UINT64_MAX / NS_PER_MS)), UINT64_MAX);
	cr_expect_leq(methods_deadline(1000), clock_ns() + NS_PER_S);
}
