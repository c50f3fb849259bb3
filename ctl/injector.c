/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that is stopped with registers of ours breaks when its tracer dies: the kernel lets it
 * go on with them. So the tracer is a process that has no other work and nothing to die of:
 *
 *     worker (vmswapd)                           injector (vmswapd-inject)
 *
 *     injector_start() ==== fork ==============> main thread            (injector_process.c)
 *     injector_await() ------- lock your memory --> |
 *          | <---------------- ready -------------- |
 *          |                                        |
 *     inject_begin()                                |
 *       socketpair, first request + one end ------> starts a thread
 *       <------- answer ------------------------------ session thread   (injector_session.c)
 *     inject_call() --- request ---------------------> |  traces one thread of the target
 *       <------- answer ------------------------------ |
 *     inject_end() --- request ----------------------> registers back, detach
 *
 * Each session is one injection, with a socket and a thread of its own: targets do not wait for
 * each other, and the end of the thread lets go of what did not stop.
 *
 * When the worker dies the kernel closes its ends. A session reads the end of file once its call is
 * done, closes userfaultfds that nobody has received, puts the target back and ends; with the last
 * one the injector ends. A target can stay stopped for as long as its call takes, not longer. A
 * worker that lives but stops asking loses the session after INJECTOR_IDLE_MS.
 *
 * The injector is outside the worker's process group and blocks all signals; the OOM killer passes
 * it over; its memory is locked; it has no descriptor of the worker but its socket. Only a SIGKILL
 * meant for it, or an assertion, leaves a target half done.
 */
#include "ctl/injector.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ctl/injector_process.h"
#include "ctl/injector_wire.h"
#include "ctl/problem.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

#define STOP_MS	 1000
#define READY_MS 10000u

/* Constant once the process has a second thread. */
static struct {
	pid_t owner; /* the process that started it */
	pid_t pid;
	int pidfd;
	int socket;
} injector = {.pidfd = -1, .socket = -1};

static bool is_ours(void)
{
	return injector.owner == getpid();
}

static int start(void)
{
	int pair[2];
	pid_t pid;

	/* @control socketpair */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork(); /* @unfiltered clone */
	if (pid == 0)
		injector_process_run(pair[1]);
	(void)close(pair[1]);
	/* @unfiltered pidfd_open */
	injector.pidfd = pid < 0 ? -errno : (int)errno_of(syscall(SYS_pidfd_open, pid, 0));
	if (injector.pidfd < 0) {
		/* The end of file ends the injector. */
		(void)close(pair[0]);
		return injector.pidfd;
	}
	injector.owner = getpid();
	injector.pid = pid;
	injector.socket = pair[0];
	return 0;
}

static int set_problem(struct problem *problem, int error)
{
	return error ? problem_set(problem, error, "no-injector",
			       "the injector process cannot be started: %s", strerror(-error))
		     : 0;
}

int injector_start(struct problem *problem)
{
	ASSERT(!is_ours());
	/* Of the parent: an open copy would keep its injector from ending. */
	close_fd(injector.socket);
	close_fd(injector.pidfd);
	return set_problem(problem, start());
}

int injector_await(struct problem *problem)
{
	uint32_t word = 1;
	struct injector_message message = {.bytes = &word, .size_bytes = sizeof(word)};
	int error;

	error = is_ours() ? injector_send(injector.socket, &message) : -ESRCH;
	if (!error)
		error = injector_receive(injector.socket, &message, READY_MS);
	if (error)
		injector_stop();
	return set_problem(problem, error);
}

void injector_stop(void)
{
	struct pollfd entry = {.fd = injector.pidfd, .events = POLLIN};

	if (!is_ours())
		return;
	close_fd(take_fd(&injector.socket));
	if (poll(&entry, 1, STOP_MS) > 0)	      /* @control poll */
		(void)waitpid(injector.pid, NULL, 0); /* @control wait4 */
	close_fd(take_fd(&injector.pidfd));
	injector.owner = 0;
}

pid_t injector_pid(void)
{
	return is_ours() ? injector.pid : getpid();
}

bool injector_is_alive(void)
{
	struct pollfd entry = {.fd = injector.pidfd, .events = POLLIN};

	return is_ours() && poll(&entry, 1, 0) == 0; /* @control poll */
}

/* The other end stays open in the message, whatever becomes of us. */
static int send_first(const struct injector_request *first, int end)
{
	struct injector_request request = *first;
	int fds[INJECTOR_FIRST_FDS] = {end, first->pidfd, first->uffd};
	const struct injector_message message = {
		.bytes = &request,
		.size_bytes = sizeof(request),
		.fds = fds,
		.fd_count = injector_first_fds(first),
	};

	return injector_send(injector.socket, &message);
}

int injector_open(const struct injector_request *first, struct problem *problem)
{
	int pair[2];
	int error;

	if (!is_ours())
		return problem_set(problem, -EOWNERDEAD, "no-injector",
			"nothing can be run in process %d: there is no injector", first->pid);
	/* @control socketpair */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return problem_set(problem, -errno, "no-descriptors",
			"no socket to the injector: %s", strerror(errno));
	error = send_first(first, pair[1]);
	(void)close(pair[1]);
	if (!error)
		return pair[0];
	(void)close(pair[0]);
	if (error == -EPIPE)
		return problem_set(problem, -EOWNERDEAD, "injector-died",
			"the injector (process %d) has died: nothing can be run in process %d; "
			"restart the daemon's worker",
			injector.pid, first->pid);
	return problem_set(problem, error, "injector-busy", "the injector (process %d): %s",
		injector.pid, strerror(-error));
}
