/* SPDX-License-Identifier: Apache-2.0 */
/* A ring refuses what the engine never asks of it: seccomp filters do not see its operations. */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/io_uring.h>

#include "io/uring.h"
#include "tests/support/check.h"

#define FDS_MAX 64

/* The ring's own descriptor, which uring.h does not tell. */
static int find_ring(void)
{
	char path[32];
	char link[64];

	for (int fd = 0; fd < FDS_MAX; fd++) {
		ssize_t length;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		length = readlink(path, link, sizeof(link) - 1);
		link[length < 0 ? 0 : length] = '\0';
		if (strcmp(link, "anon_inode:[io_uring]") == 0)
			return fd;
	}
	return -1;
}

static void a_ring_that_is_enabled_registers_no_files(void)
{
	struct uring *ring;
	int files[] = {STDIN_FILENO};
	int fd;

	CHECK(uring_open(4, &ring) == 0);
	fd = find_ring();
	CHECK(fd >= 0);
	CHECK(uring_enable(ring) == 0);

	CHECK(syscall(SYS_io_uring_register, fd, IORING_REGISTER_FILES, files, 1) == -1);
	CHECK(errno == EACCES);
	uring_close(ring);
}

static void a_ring_that_is_enabled_takes_buffers(void)
{
	static uint8_t memory[4096];
	const struct iovec buffer = {.iov_base = memory, .iov_len = sizeof(memory)};
	struct uring *ring;

	CHECK(uring_open(4, &ring) == 0);
	CHECK(uring_enable(ring) == 0);

	CHECK(uring_register_buffers(ring, &buffer, 1) == 0);
	uring_close(ring);
}

int main(void)
{
	struct uring *ring;

	CHECK(uring_open(4, &ring) == 0);
	if (uring_refusal(ring) != 0) {
		(void)printf("no io_uring on this machine\n");
		return 77;
	}
	uring_close(ring);
	RUN(a_ring_that_is_enabled_registers_no_files);
	RUN(a_ring_that_is_enabled_takes_buffers);
	return 0;
}
