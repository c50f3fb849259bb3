/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where io_uring_setup() answers EPERM (sysctl kernel.io_uring_disabled, a container's filter) or
 * ENOSYS, a ring opens all the same, says why it is none, and works.
 */
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "io/uring.h"
#include "kernel_test.h"

static void refuse_io_uring(uint16_t error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		skip("no seccomp filters");
}

static void check_works(uint16_t error)
{
	const struct machine machine = machine_new(1, 0);
	struct uring_done done;
	struct uring *ring;
	uint32_t count = 0;

	refuse_io_uring(error);
	CHECK(uring_open(8, &ring) == 0);
	CHECK(uring_refusal(ring) == -error);
	CHECK(uring_enable(ring) == 0);
	uring_discard(ring, 5, machine.memfd, 0, PAGE_BYTES);
	for (int i = 0; i < TEST_TIMEOUT_MS / 100 && count == 0; i++) {
		CHECK(uring_wait(ring, 100000) == 0);
		count = uring_reap(ring, &done, 1);
	}
	CHECK(count == 1);
	CHECK(done.token == 5);
	CHECK(done.result == 0);
	uring_close(ring);
}

/* A filter stays: each has a process of its own. */
static void in_child(uint16_t error)
{
	const pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0) {
		check_works(error);
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status));
	if (WEXITSTATUS(status) != 0)
		exit(WEXITSTATUS(status));
}

int main(void)
{
	in_child(EPERM);
	in_child(ENOSYS);
	return 0;
}
