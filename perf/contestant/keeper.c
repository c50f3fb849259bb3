/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Longer than it takes to write a large swap file, or to swap one in again. */
#define ANSWER_S 600

/* What the keeper says when it is ready, and when it is done. */
struct report {
	int error;
	struct cgroup cgroup;
	char why[sizeof(((struct contestant *)NULL)->why)];
};

struct host {
	struct cgroup cgroup;
	struct swap_area area;
};

static int set_up(
	struct contestant *self, enum swap_area_kind kind, uint64_t size_bytes, struct host *host)
{
	const int error = cgroup_make(&host->cgroup);

	if (error == -ENOENT)
		return contestant_fail(
			self, error, "no memory cgroup controller is mounted, v1 or v2");
	if (error < 0)
		return contestant_fail(self, error, "no memory cgroup: %s", strerror(-error));
	return swap_area_make(self, kind, size_bytes, &host->area);
}

/* The clients go first: without them next to nothing has to come back from swap. */
static int take_back(struct contestant *self, struct host *host)
{
	char path[SWAP_AREA_PATH_BYTES];
	const int group_error = cgroup_remove(&host->cgroup);
	int area_error;

	(void)snprintf(path, sizeof(path), "%s", host->area.path);
	area_error = swap_area_remove(&host->area);
	if (area_error < 0)
		return contestant_fail(self, area_error, "%s stays%s: %s", path,
			host->area.is_on ? ", and swap on" : "", strerror(-area_error));
	if (group_error < 0)
		return contestant_fail(self, group_error, "%s stays: %s", host->cgroup.path,
			strerror(-group_error));
	return 0;
}

static void report(const struct contestant *self, int socket, int error, const struct host *host)
{
	struct report message = {.error = error, .cgroup = host->cgroup};

	(void)snprintf(message.why, sizeof(message.why), "%s", self->why);
	(void)send(socket, &message, sizeof(message), MSG_NOSIGNAL);
}

/* A copy of another's descriptor would keep memory, sockets and files alive. */
static void close_others(int socket, int pidfd)
{
	const unsigned low = (unsigned)MIN(socket, pidfd);
	const unsigned high = (unsigned)MAX(socket, pidfd);
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	ASSERT(low > STDERR_FILENO);
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
	}
	if (low > STDERR_FILENO + 1)
		(void)close_range(STDERR_FILENO + 1, low - 1, 0);
	if (high > low + 1)
		(void)close_range(low + 1, high - 1, 0);
	(void)close_range(high + 1, ~0u, 0);
}

_Noreturn static void run_keeper(struct contestant *self, enum swap_area_kind kind,
	uint64_t size_bytes, int socket, int pidfd)
{
	struct pollfd waited[] = {
		{.fd = socket, .events = POLLIN},
		{.fd = pidfd, .events = POLLIN},
	};
	struct host host = {0};
	int error;

	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)prctl(PR_SET_NAME, "vmswap-keeper");
	close_others(socket, pidfd);
	error = set_up(self, kind, size_bytes, &host);
	if (error < 0) {
		(void)take_back(self, &host);
		report(self, socket, error, &host);
		_exit(1);
	}
	report(self, socket, 0, &host);
	while (poll(waited, ARRAY_SIZE(waited), -1) < 0)
		ASSERT(errno == EINTR);
	error = take_back(self, &host);
	if (error < 0)
		(void)fprintf(stderr, "vmswap-bench: %s\n", self->why);
	report(self, socket, error, &host);
	_exit(0);
}

/* The process between ends at once, so that init becomes the keeper's parent. */
static int fork_keeper(struct contestant *self, enum swap_area_kind kind, uint64_t size_bytes,
	int socket, int pidfd)
{
	const pid_t between = fork();

	if (between < 0)
		return -errno;
	if (between > 0)
		return errno_of(waitpid(between, NULL, 0)) < 0 ? -errno : 0;
	(void)setsid();
	if (fork() == 0)
		run_keeper(self, kind, size_bytes, socket, pidfd);
	_exit(0);
}

static int receive(struct contestant *self, int socket, struct report *ret_report)
{
	const ssize_t got = errno_of(recv(socket, ret_report, sizeof(*ret_report), 0));

	if (got == sizeof(*ret_report))
		return ret_report->error < 0
			       ? contestant_fail(self, ret_report->error, "%s", ret_report->why)
			       : 0;
	return contestant_fail(self, got < 0 ? (int)got : -EPIPE,
		"the keeper of the swap area does not answer; swapon -s shows what is left");
}

int keeper_start(struct contestant *self, enum swap_area_kind kind, uint64_t size_bytes,
	struct keeper *ret_keeper)
{
	const struct timeval timeout = {.tv_sec = ANSWER_S};
	CLEANUP_FD int pidfd = (int)errno_of(syscall(SYS_pidfd_open, getpid(), 0));
	struct report ready;
	int sockets[2];
	int error;

	ret_keeper->socket = -1;
	if (pidfd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return contestant_fail(self, -errno, "no keeper: %s", strerror(errno));
	(void)setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	error = fork_keeper(self, kind, size_bytes, sockets[1], pidfd);
	(void)close(sockets[1]);
	error = error < 0 ? contestant_fail(self, error, "no keeper: %s", strerror(-error))
			  : receive(self, sockets[0], &ready);
	if (error < 0) {
		(void)close(sockets[0]);
		return error;
	}
	*ret_keeper = (struct keeper){.socket = sockets[0], .cgroup = ready.cgroup};
	return 0;
}

int keeper_stop(struct contestant *self, struct keeper *keeper)
{
	struct report done;
	int error;

	if (keeper->socket < 0)
		return 0;
	/* A keeper that is gone does not answer either. */
	(void)send(keeper->socket, "", 1, MSG_NOSIGNAL);
	error = receive(self, keeper->socket, &done);
	(void)close(keeper->socket);
	keeper->socket = -1;
	return error;
}
