/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/handler.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Longer than any job of a benchmark; a handler that takes longer is stuck. */
#define ANSWER_TIMEOUT_S 600

/* In a handler's process. */
static pid_t served_client;

/* Then it dies of the signal after all: it stays pending until this returns. */
static void kill_client(int number)
{
	(void)kill(served_client, SIGKILL);
	(void)raise(number);
}

/* Whatever ends a handler, nobody is to wait for it. A sanitizer's own action stays. */
static void watch_crashes(const struct contestant *self)
{
	static const int numbers[] = {SIGABRT, SIGBUS, SIGSEGV};
	const struct sigaction action = {.sa_handler = kill_client, .sa_flags = (int)SA_RESETHAND};
	struct sigaction present;

	served_client = client_pid(self->client);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		(void)sigaction(numbers[i], NULL, &present);
		if (present.sa_handler == SIG_DFL)
			(void)sigaction(numbers[i], &action, NULL);
	}
}

_Noreturn static void run(
	const struct contestant *self, handler_body *body, int socket, pid_t benchmark)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_IGN);
	watch_crashes(self);
	/* It may have ended before the first line. */
	if (getppid() == benchmark)
		body(self, socket);
	_exit(0);
}

static int receive(const struct handler *handler, struct handler_answer *ret_answer)
{
	ssize_t got;

	/* With a time-out the kernel does not restart it after the SIGCHLD of a stopped client. */
	do {
		got = recv(handler->socket, ret_answer, sizeof(*ret_answer), 0);
	} while (got < 0 && errno == EINTR);
	if (got != sizeof(*ret_answer))
		return -EPIPE;
	return ret_answer->result;
}

static int fork_handler(
	const struct contestant *self, handler_body *body, struct handler *ret_handler)
{
	const struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
	const pid_t benchmark = getpid();
	int sockets[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	(void)setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	pid = fork();
	if (pid == 0) {
		(void)close(sockets[0]);
		run(self, body, sockets[1], benchmark);
	}
	if (pid < 0) {
		const int error = -errno;

		(void)close(sockets[0]);
		(void)close(sockets[1]);
		return error;
	}
	(void)close(sockets[1]);
	*ret_handler = (struct handler){.pid = pid, .socket = sockets[0]};
	return 0;
}

int handler_start(struct contestant *self, handler_body *body, struct handler *ret_handler)
{
	struct handler handler = {0};
	struct handler_answer ready;
	int error = fork_handler(self, body, &handler);

	if (error < 0)
		return contestant_fail(self, error, "no handler: %s", strerror(-error));
	error = receive(&handler, &ready);
	if (error < 0) {
		handler_stop(&handler);
		return contestant_fail(
			self, error, "the handler did not start: %s", strerror(-error));
	}
	*ret_handler = handler;
	return 0;
}

void handler_stop(struct handler *handler)
{
	if (handler->pid == 0)
		return;
	ASSERT(handler->pid > 0);
	(void)kill(handler->pid, SIGKILL);
	(void)waitpid(handler->pid, NULL, 0);
	(void)close(handler->socket);
	handler->pid = 0;
}

int handler_call(const struct handler *handler, uint32_t command, struct handler_answer *ret_answer)
{
	ASSERT(handler->pid > 0);
	if (send(handler->socket, &command, sizeof(command), MSG_NOSIGNAL) != sizeof(command))
		return -EPIPE;
	return receive(handler, ret_answer);
}

void handler_ready(int socket, int result)
{
	handler_answer(socket, &(struct handler_answer){.result = result});
}

int handler_next(int socket, uint32_t *ret_command)
{
	uint32_t command;

	if (recv(socket, &command, sizeof(command), 0) != sizeof(command))
		return -EPIPE;
	*ret_command = command;
	return 0;
}

/* When it does not arrive, the benchmark is gone, and so is this process at once. */
void handler_answer(int socket, const struct handler_answer *answer)
{
	(void)!send(socket, answer, sizeof(*answer), MSG_NOSIGNAL);
}

void handler_give_up(const struct contestant *self, const char *call, int error)
{
	if (error != -ESRCH) {
		(void)fprintf(
			stderr, "%s: %s: %s\n", self->operations->name, call, strerror(-error));
		(void)kill(client_pid(self->client), SIGKILL);
	}
	_exit(error != -ESRCH);
}
