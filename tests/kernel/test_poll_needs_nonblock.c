/* SPDX-License-Identifier: Apache-2.0 */
/* poll(2) on a blocking userfaultfd says POLLERR at once; on a non-blocking one it waits for
 * faults. */
#include <sys/syscall.h>

#include "kernel_test.h"

static short poll_now(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	(void)poll(&poller, 1, 0);
	return poller.revents;
}

int main(void)
{
	need_features(0);
	const int blocking = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	const int nonblocking = uffd_open();

	if (blocking < 0)
		skip("userfaultfd(2) not allowed");
	CHECK(uffd_handshake(blocking, 0) == 0);
	CHECK(uffd_handshake(nonblocking, 0) == 0);

	CHECK(poll_now(blocking) == POLLERR);
	CHECK(poll_now(nonblocking) == 0);
	return 0;
}
