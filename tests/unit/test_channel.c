/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/channel.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* The other end: a helper thread as the client library has one. */
struct helper {
	int fd;
	int64_t result;
	bool is_silent;	  /* closes instead of answering */
	bool repeats_old; /* answers an earlier request first */
	uint64_t got[3];
};

static void *helper_main(void *argument)
{
	struct helper *helper = argument;

	if (recv(helper->fd, helper->got, sizeof(helper->got), 0) == sizeof(helper->got) &&
		!helper->is_silent) {
		int64_t answer[2] = {(int64_t)helper->got[0] - 1, -EIO};

		if (helper->repeats_old)
			(void)send(helper->fd, answer, sizeof(answer), 0);
		answer[0] = (int64_t)helper->got[0];
		answer[1] = helper->result;
		(void)send(helper->fd, answer, sizeof(answer), 0);
	}
	(void)close(helper->fd);
	return NULL;
}

static int zap(struct helper *helper, uint64_t address, uint64_t size_bytes)
{
	pthread_t thread;
	int fds[2];
	int rc;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	helper->fd = fds[1];
	cr_assert_eq(pthread_create(&thread, NULL, helper_main, helper), 0);
	rc = channel_zap(fds[0], address, size_bytes);
	(void)pthread_join(thread, NULL);
	(void)close(fds[0]);
	return rc;
}

Test(channel, the_helper_gets_the_range_and_its_result_comes_back)
{
	struct helper helper = {.result = 0};

	int rc = zap(&helper, 0x7000000, 0x200000);

	cr_expect_eq(rc, 0);
	cr_expect_eq(helper.got[1], 0x7000000);
	cr_expect_eq(helper.got[2], 0x200000);
}

Test(channel, an_error_of_madvise_comes_back)
{
	struct helper helper = {.result = -ENOMEM};

	cr_expect_eq(zap(&helper, 0x1000, 0x1000), -ENOMEM);
}

Test(channel, a_helper_that_goes_away_is_a_reset)
{
	struct helper helper = {.is_silent = true};

	cr_expect_eq(zap(&helper, 0x1000, 0x1000), -ECONNRESET);
}

Test(channel, a_late_answer_to_an_older_request_is_passed_over)
{
	struct helper helper = {.repeats_old = true};

	cr_expect_eq(zap(&helper, 0x1000, 0x1000), 0);
}

Test(channel, a_result_that_is_no_errno_is_refused)
{
	struct helper helper = {.result = 1};

	cr_expect_eq(zap(&helper, 0x1000, 0x1000), -EBADMSG);
}
