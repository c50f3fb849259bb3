/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child waits at a gate until it is traced, then execs; the kernel stops it at
 * PTRACE_EVENT_EXEC. At that point the new address space exists, not one of its instructions has
 * run, no seccomp filter of its own is in place: the userfaultfds are made there, and the child is
 * let go.
 */
#include "ctl/run/child.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "ctl/inject_uffd.h"
#include "ctl/problem.h"
#include "ctl/tracee.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* The program may lie on a slow disk. */
#define EXEC_TIMEOUT_NS (60 * NS_PER_S)
#define EXEC_POLL_MS	10

/* Two pipes, close-on-exec at both ends. */
struct start {
	pid_t pid;
	int gate[2];   /* one byte lets the child exec */
	int report[2]; /* the errno of a failed exec; closed by a good one */
};

_Noreturn static void run_child(const struct start *start, char *const *argv, const sigset_t *mask)
{
	char byte;
	int error;

	(void)close(start->gate[1]);
	/* End of file: the parent has gone or given up. */
	if (read(start->gate[0], &byte, 1) != 1)
		_exit(125);
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	(void)execvp(argv[0], argv);
	error = errno;
	if (write(start->report[1], &error, sizeof(error)) != sizeof(error))
		_exit(125);
	_exit(127);
}

/* A failed exec says why; a child that was killed says nothing. */
static int exec_error(const struct start *start)
{
	int error;

	if (read(start->report[0], &error, sizeof(error)) != sizeof(error))
		return -ECHILD;
	ASSERT(error > 0);
	return -error;
}

/* Waits for the exec stop. Signals that come before it are passed on. */
static int wait_exec(const struct start *start)
{
	uint64_t end_ns = clock_ns() + EXEC_TIMEOUT_NS;
	struct pollfd report = {.fd = start->report[0], .events = POLLIN};

	while (clock_ns() < end_ns) {
		int status;
		pid_t waited = waitpid(start->pid, &status, __WALL | WNOHANG);

		if (waited < 0 && errno != EINTR)
			return -errno;
		if (waited == start->pid && !WIFSTOPPED(status))
			return exec_error(start);
		if (waited == start->pid && status >> 16 == PTRACE_EVENT_EXEC)
			return 0;
		if (waited == start->pid)
			(void)ptrace(PTRACE_CONT, start->pid, NULL,
				(void *)(intptr_t)(status >> 16 ? 0 : WSTOPSIG(status)));
		else
			(void)poll(&report, 1, EXEC_POLL_MS);
	}
	return -ETIMEDOUT;
}

static int trace(const struct start *start)
{
	uintptr_t options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;

	if (ptrace(PTRACE_SEIZE, start->pid, NULL, (void *)options) < 0)
		return -errno;
	if (write(start->gate[1], "", 1) != 1)
		return -errno;
	return 0;
}

static int make_uffds(const struct start *start, struct child *child, struct problem *problem)
{
	struct tracee tracee;
	int remote[SHARDS_MAX];
	int error = tracee_adopt_exec(&tracee, start->pid, problem);

	if (error)
		return error;
	if (child->fd_count > 0)
		error = inject_uffd_make(&tracee, child->fd_count, child->fds, remote, problem);
	/* While it is still stopped, so that nothing of it runs. */
	if (error)
		(void)kill(start->pid, SIGKILL);
	tracee_wait_out(&tracee);
	tracee_release(&tracee);
	return error;
}

static int bring_up(
	const struct start *start, const char *name, struct child *child, struct problem *problem)
{
	int error = trace(start);

	if (error)
		return problem_set(
			problem, error, "trace", "%s cannot be traced: %s", name, strerror(-error));
	error = wait_exec(start);
	if (error)
		return problem_set(problem, error, "exec", "%s: %s", name, strerror(-error));
	return make_uffds(start, child, problem);
}

static int open_pipes(struct start *start)
{
	if (pipe2(start->gate, O_CLOEXEC) < 0)
		return -errno;
	return pipe2(start->report, O_CLOEXEC) < 0 ? -errno : 0;
}

static void close_pipes(const struct start *start)
{
	for (int end = 0; end < 2; end++) {
		close_fd(start->gate[end]);
		close_fd(start->report[end]);
	}
}

/* Our ends of the pipes stay open until the child runs or is gone. */
static int start_and_wait(struct start *start, char *const *argv, const sigset_t *mask,
	struct child *child, struct problem *problem)
{
	int error = open_pipes(start);

	if (!error)
		start->pid = fork();
	if (error || start->pid < 0)
		return problem_set(problem, error ? error : -errno, "fork", "no process for %s: %s",
			argv[0], strerror(error ? -error : errno));
	if (start->pid == 0)
		run_child(start, argv, mask);
	close_fd(take_fd(&start->gate[0]));
	close_fd(take_fd(&start->report[1]));
	error = bring_up(start, argv[0], child, problem);
	if (error) {
		(void)kill(start->pid, SIGKILL);
		(void)waitpid(start->pid, NULL, __WALL);
	}
	return error;
}

int child_start(char *const *argv, const sigset_t *mask, uint32_t count, struct child *ret_child,
	struct problem *problem)
{
	struct start start = {.pid = -1, .gate = {-1, -1}, .report = {-1, -1}};
	struct child child = {.fd_count = count};
	int error;

	ASSERT(argv[0]);
	ASSERT(count <= SHARDS_MAX);
	error = start_and_wait(&start, argv, mask, &child, problem);
	close_pipes(&start);
	if (error)
		return error;
	child.pid = start.pid;
	*ret_child = child;
	return 0;
}
