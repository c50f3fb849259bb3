/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <unistd.h>

#include "queue/wake.h"

static struct wake wake;

static void setup(void)
{
	cr_assert_eq(wake_init(&wake), 0);
}

static void teardown(void)
{
	wake_destroy(&wake);
}

static bool would_wake(void)
{
	struct pollfd poll_fd = {.fd = wake.eventfd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) == 1;
}

static uint64_t drain_count(void)
{
	uint64_t count = 0;

	if (read(wake.eventfd, &count, sizeof(count)) < 0)
		return 0;
	return count;
}

TestSuite(wake, .init = setup, .fini = teardown);

Test(wake, the_eventfd_never_blocks_and_is_not_inherited)
{
	int status_flags = fcntl(wake.eventfd, F_GETFL);
	int fd_flags = fcntl(wake.eventfd, F_GETFD);

	cr_assert(status_flags & O_NONBLOCK);
	cr_assert(fd_flags & FD_CLOEXEC);
}

Test(wake, nobody_asleep_costs_no_write)
{
	wake_notify(&wake);

	cr_assert_not(would_wake());
}

Test(wake, a_sleeper_that_announced_itself_is_woken)
{
	wake_prepare(&wake);

	wake_notify(&wake);

	cr_assert(would_wake());
}

Test(wake, a_burst_of_pushes_pays_for_one_write)
{
	wake_prepare(&wake);

	for (int i = 0; i < 1000; i++)
		wake_notify(&wake);

	cr_assert_eq(drain_count(), 1);
}

Test(wake, done_drains_so_that_the_next_sleep_does_not_return_at_once)
{
	wake_prepare(&wake);
	wake_notify(&wake);

	wake_done(&wake);
	wake_prepare(&wake);

	cr_assert_not(would_wake());
}

Test(wake, done_without_a_notification_returns_at_once)
{
	wake_prepare(&wake);

	wake_done(&wake);
	wake_notify(&wake);

	cr_assert_not(would_wake(), "an awake sleeper must not be written to");
}

/* A producer that took the flag of an earlier sleep and was preempted before its write. */
Test(wake, a_late_write_is_drained_and_does_not_stick)
{
	const uint64_t one = 1;

	wake_prepare(&wake);
	cr_assert_eq(write(wake.eventfd, &one, sizeof(one)), sizeof(one));
	wake_done(&wake);
	wake_prepare(&wake);

	cr_assert_not(would_wake());
	wake_notify(&wake);
	cr_assert(would_wake());
}

Test(wake, a_saturated_counter_still_wakes)
{
	const uint64_t most = UINT64_MAX - 1;

	cr_assert_eq(write(wake.eventfd, &most, sizeof(most)), sizeof(most));
	wake_prepare(&wake);
	wake_notify(&wake);

	cr_assert(would_wake());
	wake_done(&wake);
	cr_assert_not(would_wake());
}

Test(wake, init_reports_that_no_descriptor_is_left)
{
	struct wake other;
	struct rlimit before;
	struct rlimit none;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;

	/* No assertion while the limit is down: Criterion needs descriptors too. */
	int lowered = setrlimit(RLIMIT_NOFILE, &none);
	int result = wake_init(&other);
	int restored = setrlimit(RLIMIT_NOFILE, &before);

	cr_assert_eq(lowered, 0);
	cr_assert_eq(restored, 0);
	cr_assert_eq(result, -EMFILE);
}
