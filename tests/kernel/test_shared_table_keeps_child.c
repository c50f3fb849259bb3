/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor of a forked child, read by a process that is killed then, stays in a table that
 * another process shares; the message stays in memory that both share; and the child waits on.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/sched.h>

#include "kernel_fork.h"
#include "kernel_test.h"

/* Its memory is a copy of ours from before there was a userfaultfd: that has a number only. */
static _Noreturn void read_and_die(int numbers, struct uffd_inbox *inbox)
{
	struct uffd_message message;
	int uffd;

	CHECK(read(numbers, &uffd, sizeof(uffd)) == sizeof(uffd));
	while (uffd_read(uffd, inbox, &message, 1) != 1)
		await_message(uffd);
	(void)raise(SIGKILL);
	abort();
}

int main(void)
{
	struct background caller;
	struct machine machine;
	struct machine child;
	struct uffd_inbox *inbox = mmap(
		NULL, sizeof(*inbox), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int uffds[UFFD_BATCH_MAX];
	int numbers[2];
	int status;
	long reader;

	CHECK(inbox != MAP_FAILED);
	CHECK(pipe(release) == 0 && pipe(numbers) == 0);
	reader = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	CHECK(reader >= 0);
	if (reader == 0)
		read_and_die(numbers[0], inbox);
	machine = machine_new(2, UFFD_EVENTS);
	caller = (struct background){.address = page_of(&machine, 1)};
	zap(&machine, 0, 2);
	CHECK(write(numbers[1], &machine.uffd, sizeof(machine.uffd)) == sizeof(machine.uffd));
	start(&caller, run_fork);
	CHECK(waitpid((pid_t)reader, &status, 0) == reader);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	finish(&caller);

	CHECK(uffd_inbox_children(inbox, uffds) == 1);
	child = machine;
	child.uffd = uffds[0];
	CHECK(write(release[1], "", 1) == 1);
	expect_fault(&child, UFFD_FAULT_MINOR, 1, false);
	resolve_continue(&child, 1, false);
	CHECK(waitpid(caller.result, &status, 0) == caller.result);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == content_of(1));

	uffd_inbox_forget_child(inbox, 0);
	CHECK(uffd_inbox_children(inbox, uffds) == 1 && uffds[0] == -1);
	return 0;
}
