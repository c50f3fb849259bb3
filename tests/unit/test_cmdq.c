/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "queue/base/clock.h"
#include "queue/cmdq.h"
#include "queue/wake.h"

#define LANES	 3u
#define CAPACITY 4u

static struct cmdq *cmdq;
static uint64_t commands[LANES * CAPACITY + 1];

static void setup(void)
{
	cr_assert_eq(cmdq_new(LANES, CAPACITY, &cmdq), 0);
}

static void teardown(void)
{
	cmdq_free(cmdq);
}

static void fill(uint32_t lane)
{
	for (uint32_t i = 0; i < CAPACITY; i++)
		cr_assert(cmdq_push_mpmc(cmdq, lane, &commands[lane * CAPACITY + i]));
}

static bool would_wake(uint32_t lane)
{
	struct pollfd poll_fd = {.fd = cmdq_wake(cmdq, lane)->eventfd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) == 1;
}

TestSuite(cmdq, .init = setup, .fini = teardown);

Test(cmdq, a_command_arrives_in_the_lane_it_was_addressed_to_and_in_no_other)
{
	cr_assert(cmdq_push_mpmc(cmdq, 1, &commands[0]));

	cr_assert_null(cmdq_pop_mpmc(cmdq, 0));
	cr_assert_null(cmdq_pop_mpmc(cmdq, 2));
	cr_assert_eq(cmdq_pop_mpmc(cmdq, 1), &commands[0]);
	cr_assert_null(cmdq_pop_mpmc(cmdq, 1));
}

Test(cmdq, a_full_lane_refuses_while_the_others_still_take)
{
	fill(1);

	cr_assert_not(cmdq_push_mpmc(cmdq, 1, &commands[0]));
	cr_assert_eq(cmdq_count(cmdq, 1), CAPACITY);
	cr_assert_eq(cmdq_count(cmdq, 0), 0);
	fill(0);
	fill(2);
}

Test(cmdq, a_lane_keeps_the_order_of_its_commands)
{
	fill(2);

	for (uint32_t i = 0; i < CAPACITY; i++)
		cr_assert_eq(cmdq_pop_mpmc(cmdq, 2), &commands[2 * CAPACITY + i]);
}

Test(cmdq, a_push_wakes_the_sleeper_of_its_lane_only)
{
	for (uint32_t lane = 0; lane < LANES; lane++)
		wake_prepare(cmdq_wake(cmdq, lane));

	cr_assert(cmdq_push_mpmc(cmdq, 1, &commands[0]));

	cr_assert(would_wake(1));
	cr_assert_not(would_wake(0));
	cr_assert_not(would_wake(2));
}

Test(cmdq, a_refused_push_wakes_nobody)
{
	fill(0);
	wake_prepare(cmdq_wake(cmdq, 0));

	cr_assert_not(cmdq_push_mpmc(cmdq, 0, &commands[0]));

	cr_assert_not(would_wake(0));
}

Test(cmdq, wait_returns_what_is_there_without_sleeping)
{
	fill(0);

	cr_assert_eq(cmdq_wait(cmdq, 0, -1), &commands[0]);
	cr_assert_eq(cmdq_wait(cmdq, 0, 0), &commands[1]);
}

Test(cmdq, wait_gives_up_after_its_timeout_and_not_before)
{
	uint64_t start_ns = clock_ns();

	void *command = cmdq_wait(cmdq, 0, 20);

	cr_assert_null(command);
	cr_assert_geq(clock_ns() - start_ns, 20 * NS_PER_MS);
	cr_assert_null(cmdq_wait(cmdq, 0, 0));
}

/* The token of a late notification must neither end the wait early nor make it spin. */
Test(cmdq, wait_outlives_a_wake_up_without_a_command)
{
	uint64_t start_ns = clock_ns();

	wake_prepare(cmdq_wake(cmdq, 0));
	wake_notify(cmdq_wake(cmdq, 0));
	cr_assert_null(cmdq_wait(cmdq, 0, 20));

	cr_assert_geq(clock_ns() - start_ns, 20 * NS_PER_MS);
	cr_assert_not(would_wake(0));
}

static void *push_later(void *command)
{
	/* Pushes once the waiter has said that it sleeps: the wait must end by the eventfd. */
	while (!cmdq_wake(cmdq, 0)->asleep)
		;
	cr_assert(cmdq_push_mpmc(cmdq, 0, command));
	return NULL;
}

Test(cmdq, a_push_ends_a_wait_that_has_no_timeout, .timeout = 10)
{
	pthread_t producer;

	cr_assert_eq(pthread_create(&producer, NULL, push_later, &commands[5]), 0);
	void *command = cmdq_wait(cmdq, 0, -1);

	cr_assert_eq(command, &commands[5]);
	cr_assert_eq(pthread_join(producer, NULL), 0);
}

Test(cmdq, setup_that_runs_out_of_descriptors_fails_and_closes_what_it_had)
{
	int next_fd = dup(STDERR_FILENO);
	struct cmdq *other = NULL;
	struct rlimit before;
	struct rlimit two_more;

	cr_assert_eq(close(next_fd), 0);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	two_more = before;
	two_more.rlim_cur = (rlim_t)next_fd + 2;

	/* No assertion while the limit is down: Criterion needs descriptors too. */
	int lowered = setrlimit(RLIMIT_NOFILE, &two_more);
	int result = cmdq_new(LANES, CAPACITY, &other);
	int restored = setrlimit(RLIMIT_NOFILE, &before);

	cr_assert_eq(lowered, 0);
	cr_assert_eq(restored, 0);
	cr_assert_eq(result, -EMFILE);
	cr_assert_null(other, "nothing is written on failure");
	cr_assert_eq(dup(STDERR_FILENO), next_fd, "a lane that was set up leaked its eventfd");
}

Test(cmdq, freeing_null_is_allowed)
{
	cmdq_free(NULL);
}

Test(cmdq, a_lane_that_does_not_exist_is_refused, .signal = SIGABRT)
{
	(void)cmdq_push_mpmc(cmdq, LANES, &commands[0]);
}
