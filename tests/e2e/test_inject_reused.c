/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The number of a dead target is given to another process: nothing is run in that one, whenever
 * between the look at the number and the stop the change came.
 */
#include "ctl/inject.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sched.h>

#include "attach_target.h"
#include "ctl/problem.h"
#include "ctl/target.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define GUEST_BYTES (2 * MIB)

/* A target as a worker knows it. It is dead, collected, and its number is free. */
static struct target name_dead(void)
{
	struct attach_target dead = attach_start(attach_wait_body);
	const struct target named = {
		.pid = dead.pid,
		.pidfd = (int)syscall(SYS_pidfd_open, dead.pid, 0),
		.uffd = -1,
	};

	CHECK(named.pidfd >= 0);
	attach_stop(&dead);
	return named;
}

/* As fork(2), with a number that was chosen. */
static pid_t fork_as(pid_t pid)
{
	struct clone_args arguments = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1};

	return (pid_t)errno_of(syscall(SYS_clone3, &arguments, sizeof(arguments)));
}

static _Noreturn void run_stranger(struct attach_shared *shared)
{
	uint8_t *memory = attach_guest(shared, GUEST_BYTES);

	attach_wait_body(shared);
	_exit(attach_guest_is_right(memory, GUEST_BYTES) ? 0 : 1);
}

/* Another process with the number of @named, which waits for a byte. */
static struct attach_target start_stranger(const struct target *named)
{
	struct attach_target stranger = attach_prepare();

	stranger.pid = fork_as(named->pid);
	if (stranger.pid == 0)
		run_stranger(stranger.shared);
	CHECK(stranger.pid == named->pid);
	attach_await_syscall(stranger.pid, SYS_read);
	return stranger;
}

/* It is the only one with its number, and can be injected into by its own name. */
static void check_unharmed(struct attach_target *stranger)
{
	attach_inject_getppid(stranger->pid);
	CHECK(write(stranger->shared->descriptors[1], "x", 1) == 1);
	CHECK(attach_wait(stranger) == 0);
}

static void no_injection_begins_in_a_stranger_with_the_number(void)
{
	struct target named = name_dead();
	struct attach_target stranger = start_stranger(&named);
	struct injection *injection = NULL;
	struct problem problem = {0};

	const int error = inject_begin(&named, &injection, &problem);

	CHECK(error == -ESRCH);
	CHECK(strcmp(problem.reason, "process-gone") == 0);
	target_close(&named);
	check_unharmed(&stranger);
}

static void no_memory_of_a_stranger_with_the_number_is_zapped(void)
{
	struct target named = name_dead();
	struct attach_target stranger = start_stranger(&named);
	const uint64_t address = stranger.shared->address;
	struct inject_zapped zapped;
	struct problem problem = {0};

	const int error = inject_zap(&named, address, GUEST_BYTES, &zapped, &problem);

	CHECK(error == -ESRCH);
	CHECK(strcmp(problem.reason, "process-gone") == 0);
	CHECK(attach_present(stranger.pid, address, GUEST_BYTES) == GUEST_BYTES / PAGE_BYTES);
	target_close(&named);
	check_unharmed(&stranger);
}

/* Whether the host lets us choose a number. */
static bool can_choose(void)
{
	struct target named = name_dead();
	const pid_t pid = fork_as(named.pid);

	if (pid == 0)
		_exit(0);
	target_close(&named);
	return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

int main(void)
{
	if (geteuid() != 0 || ATTACH_HAS_OWN_THREAD || !can_choose()) {
		(void)printf("needs root, clone3(2) with set_tid, and no ThreadSanitizer\n");
		return 77;
	}
	attach_start_injector();
	RUN(no_injection_begins_in_a_stranger_with_the_number);
	RUN(no_memory_of_a_stranger_with_the_number_is_zapped);
	return 0;
}
