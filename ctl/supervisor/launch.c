/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/supervisor/launch.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/close_range.h>

#include "ctl/supervisor/handover.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

/* In the environment as they are; the child writes its descriptor's number and its mode into its
 * copy. */
static char environment[sizeof(HANDOVER_ENVIRONMENT) + 16] = HANDOVER_ENVIRONMENT "=-1";
static char mode_environment[sizeof(HANDOVER_MODE_ENVIRONMENT) + 16] =
	HANDOVER_MODE_ENVIRONMENT "=0";

void launch_prepare(void)
{
	ASSERT(putenv(environment) == 0);
	ASSERT(putenv(mode_environment) == 0);
}

_Noreturn static void become_worker(int program, char **argv, enum handover_mode mode, int socket)
{
	sigset_t signals;

	/* these wait for the worker's signalfd, however early they come */
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_SETMASK, &signals, NULL);
	(void)snprintf(environment, sizeof(environment), HANDOVER_ENVIRONMENT "=%d", socket);
	(void)snprintf(mode_environment, sizeof(mode_environment), HANDOVER_MODE_ENVIRONMENT "=%d",
		(int)mode);
	/* everything stored is open here, too: it must not leak into the worker */
	if (close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC) == 0 &&
		fcntl(socket, F_SETFD, 0) == 0)
		(void)execveat(program, "", argv, environ, AT_EMPTY_PATH);
	log_error("the worker cannot be executed: %s", strerror(errno));
	_exit(EXIT_FAILURE);
}

pid_t launch(int program, char **argv, enum handover_mode mode, int *ret_pidfd, int *ret_socket)
{
	CLEANUP_FD int ours = -1;
	CLEANUP_FD int theirs = -1;
	int pair[2];
	int pidfd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		become_worker(program, argv, mode, theirs);
	if (pid < 0)
		return -errno;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		const int error = -errno;

		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return error;
	}
	*ret_pidfd = pidfd;
	*ret_socket = take_fd(&ours);
	return pid;
}
