/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's end of an injection: chooses threads of the target and asks the injector process,
 * which traces (injector.c). Nothing that happens here, or does not happen because the worker has
 * died, can harm the target.
 *
 * One session is one attempt at one thread. A thread that does not stop in time is given up and the
 * next best is tried: the injector lets it go by ending its tracer thread, before the session's
 * socket is closed.
 *
 * A call that does not return in time must not be torn, and a thread that does not even get to it
 * (a frozen cgroup) must not be left: it would go on with our registers. The caller gets -ETIMEDOUT
 * and may end the injection; the session stays behind in the injector, waits without a bound for
 * the thread to stop (or the process to die), puts the registers back and detaches.
 *
 * Two injections into one process at once would be harmless (each has a thread of its own), but the
 * second waits for a second, which is also what a new worker does while the injector of the one
 * before it finishes; then it is refused, as it is at once beside any other tracer.
 */
#include "ctl/inject.h"

#include <errno.h>
#include <string.h>

#include "ctl/inject_thread.h"
#include "ctl/injector.h"
#include "ctl/injector_wire.h"
#include "ctl/problem.h"
#include "ctl/remote.h"
#include "ctl/target.h"
#include "ctl/tracee.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/probe.h"

/* A session that has not answered by then hangs in the kernel itself (an exec of the target that
 * does not end, text on a dead disk). */
#define ANSWER_GRACE_MS 5000u
/* Each of the calls of a request may be waited for, but only the last one may be late. */
#define ANSWER_MS (TRACEE_STOP_MS + TRACEE_CALL_MS + TRACEE_INTERRUPT_MS + ANSWER_GRACE_MS)
/* Rounds of choosing a thread: each may fail because all sleep in I/O, one sits in rseq, or an
 * injector is at work. */
#define CHOICES_MAX	100u
#define CHOICE_PAUSE_NS (10 * NS_PER_MS)

struct injection {
	pid_t pid;
	int socket;
	bool is_late; /* a call has not come back: nothing else can be run */
	uint64_t stopped_us;
};

/* ---- one session ---- */

/* The session's socket has closed: the injector has died, or it has given the session up. */
static int why_closed(void)
{
	return injector_is_alive() ? -ETIMEDOUT : -EOWNERDEAD;
}

static int receive_answer(int socket, struct injector_answer *ret_answer, uint64_t timeout_ms)
{
	struct injector_message message = {.bytes = ret_answer, .size_bytes = sizeof(*ret_answer)};
	const int error = injector_receive(socket, &message, timeout_ms);

	return error == -EPIPE ? why_closed() : error;
}

/* What was traced has been let go once the injector has closed its end, or soon will be. */
static void await_closed(int socket)
{
	struct injector_answer ignored;

	(void)receive_answer(socket, &ignored, TRACEE_STOP_MS);
	(void)close(socket);
}

static int explain_no_answer(pid_t pid, int error, struct problem *problem)
{
	if (error == -EOWNERDEAD)
		return problem_set(problem, error, "injector-died",
			"the injector (process %d) died while it worked in process %d; restart the "
			"daemon's worker",
			injector_pid(), pid);
	return problem_set(problem, error, "no-answer",
		"the injector (process %d) does not answer about process %d: %s", injector_pid(),
		pid, strerror(-error));
}

/* The first request of a session and its answer: the socket, or -errno. */
static int open_session(const struct injector_request *first, struct injector_answer *ret_answer,
	struct problem *problem)
{
	const int socket = injector_open(first, problem);
	int error;

	if (socket < 0)
		return socket;
	error = receive_answer(socket, ret_answer, ANSWER_MS);
	if (error) {
		(void)close(socket);
		return explain_no_answer(first->pid, error, problem);
	}
	if (ret_answer->is_stopped)
		return socket;
	await_closed(socket);
	ASSERT(ret_answer->result < 0);
	if (problem)
		*problem = ret_answer->problem;
	return (int)ret_answer->result;
}

/* ---- the choice of a thread ---- */

/* Another thread, or the same a moment later, may do. */
static bool is_worth_another(int error)
{
	return error == -ETIMEDOUT || error == -EAGAIN || error == -ESRCH;
}

/* One choice of threads, tried in their order. */
static int open_best(
	struct injector_request *first, struct injector_answer *ret_answer, struct problem *problem)
{
	struct inject_threads threads;
	int result = inject_thread_choose(first->pid, &threads, problem);

	if (result < 0)
		return result;
	for (uint32_t i = 0; i < threads.count; i++) {
		first->tid = threads.tid[i];
		result = open_session(first, ret_answer, problem);
		if (!is_worth_another(result))
			break;
	}
	/* A thread may end at any time: whether the process has, the next choice tells. The same
	 * for who has begun to trace it. */
	return result == -ESRCH || result == -EBUSY ? -EAGAIN : result;
}

/* The socket of a session with a stopped thread, or -errno. */
static int open_any(
	struct injector_request *first, struct injector_answer *ret_answer, struct problem *problem)
{
	const struct timespec pause = {.tv_nsec = (long)CHOICE_PAUSE_NS};
	int result = -EAGAIN;

	ASSERT(first->pid > 0);
	ASSERT(first->pid != getpid());
	ASSERT(first->pidfd >= 0);
	for (uint32_t i = 0; i < CHOICES_MAX; i++) {
		result = open_best(first, ret_answer, problem);
		if (result == -ESTALE)
			return -ESRCH;
		if (result != -EAGAIN && result != -EALREADY)
			return result;
		/* @control clock_nanosleep */
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	if (result == -EALREADY)
		return -EBUSY;
	return problem_set(problem, -ETIMEDOUT, "no-thread",
		"no thread of process %d can be stopped: all are in uninterruptible sleep (state D "
		"in ps -L); try again when its I/O is done",
		first->pid);
}

/* ---- an injection ---- */

static int send_request(const struct injection *injection, const struct injector_request *request)
{
	struct injector_request copy = *request;
	const struct injector_message message = {.bytes = &copy, .size_bytes = sizeof(copy)};
	const int error = injector_send(injection->socket, &message);

	return error == -EPIPE ? why_closed() : error;
}

/* Result of the request, or why there is none. @fds: room for what comes with the answer. */
static long ask(struct injection *injection, const struct injector_request *request,
	struct injector_answer *ret_answer, struct injector_message *message)
{
	int error;

	if (injection->is_late)
		return -ETIMEDOUT;
	message->bytes = ret_answer;
	message->size_bytes = sizeof(*ret_answer);
	error = send_request(injection, request);
	PROBE(inject, asked);
	if (!error)
		error = injector_receive(injection->socket, message, ANSWER_MS);
	if (error) {
		injection->is_late = true;
		return error == -EPIPE ? why_closed() : error;
	}
	injection->is_late = ret_answer->is_late;
	injection->stopped_us = ret_answer->stopped_us;
	return ret_answer->result;
}

static long ask_plain(struct injection *injection, const struct injector_request *request)
{
	struct injector_answer answer = {0};
	struct injector_message message = {0};

	return ask(injection, request, &answer, &message);
}

int inject_begin(
	const struct target *target, struct injection **ret_injection, struct problem *problem)
{
	struct injector_request first = {
		.operation = INJECTOR_BEGIN,
		.pid = target->pid,
		.pidfd = target->pidfd,
		.uffd = target->uffd,
	};
	struct injection *injection = calloc(1, sizeof(*injection));
	struct injector_answer answer = {0};
	int socket;

	if (!injection)
		return problem_set(problem, -ENOMEM, "no-memory", "no memory for an injection");
	socket = open_any(&first, &answer, problem);
	if (socket < 0) {
		free(injection);
		return socket;
	}
	PROBE(inject, stopped);
	injection->pid = target->pid;
	injection->socket = socket;
	injection->stopped_us = answer.stopped_us;
	*ret_injection = injection;
	return 0;
}

long inject_call(struct injection *injection, long number, const uint64_t argument[6])
{
	struct injector_request request = {.operation = INJECTOR_CALL, .number = number};

	ASSERT(injection);
	ASSERT(number >= 0);
	memcpy(request.argument, argument, sizeof(request.argument));
	return ask_plain(injection, &request);
}

int inject_end_sure(struct injection *injection, uint64_t *ret_stopped_us)
{
	const struct injector_request request = {.operation = INJECTOR_END};
	const int error = (int)ask_plain(injection, &request);

	*ret_stopped_us = injection->stopped_us;
	(void)close(injection->socket);
	free(injection);
	return error;
}

uint64_t inject_end(struct injection *injection)
{
	uint64_t stopped_us = 0;

	if (injection)
		(void)inject_end_sure(injection, &stopped_us);
	return stopped_us;
}

/* All have arrived, or what has is closed here and there: we have no room for more. */
static int take_uffds(struct injection *injection, const struct injector_answer *answer,
	const struct injector_message *message, uint32_t count)
{
	if (message->fd_count == count)
		return 0;
	for (uint32_t i = 0; i < message->fd_count; i++)
		close_fd(message->fds[i]);
	inject_close(injection, answer->remote, count);
	return -EMFILE;
}

int inject_uffds(struct injection *injection, uint32_t count, int *ret_fds, int *ret_remote,
	struct problem *problem)
{
	const struct injector_request request = {.operation = INJECTOR_UFFDS, .count = count};
	struct injector_answer answer = {0};
	int fds[SHARDS_MAX];
	struct injector_message message = {.fds = fds, .fd_count = count};
	int error;

	ASSERT(count > 0);
	ASSERT(count <= SHARDS_MAX);
	error = (int)ask(injection, &request, &answer, &message);
	if (error == -ETIMEDOUT)
		return problem_set(problem, error, "call-timeout",
			"process %d did not finish making its userfaultfds in time",
			injection->pid);
	if (error && answer.problem.error == 0)
		return explain_no_answer(injection->pid, error, problem);
	if (error) {
		if (problem)
			*problem = answer.problem;
		return error;
	}
	error = take_uffds(injection, &answer, &message, count);
	if (error)
		return problem_set(problem, error, "no-descriptors",
			"vmswapd has no free descriptor for %u userfaultfds", count);
	PROBE(inject, received);
	memcpy(ret_fds, fds, count * sizeof(*fds));
	memcpy(ret_remote, answer.remote, count * sizeof(*ret_remote));
	return 0;
}

void inject_close(struct injection *injection, const int *remote, uint32_t count)
{
	struct injector_request request = {.operation = INJECTOR_CLOSE, .count = count};

	ASSERT(count <= SHARDS_MAX);
	if (count == 0)
		return;
	memcpy(request.remote, remote, count * sizeof(*remote));
	(void)ask_plain(injection, &request);
}

int inject_close_copies(const struct target *target, const int *remote, const int *fds,
	uint32_t count, struct problem *problem)
{
	struct injection *injection = NULL;
	const int rc = inject_begin(target, &injection, problem);
	int found[SHARDS_MAX];
	uint32_t found_count = 0;

	ASSERT(count <= SHARDS_MAX);
	if (rc < 0)
		return rc;
	ASSERT(injection);
	/* Not before no other injection is at work there: that of a worker that died may be. */
	for (uint32_t i = 0; i < count; i++)
		if (remote[i] >= 0 && remote_is_copy(target->pid, remote[i], fds[i]))
			found[found_count++] = remote[i];
	inject_close(injection, found, found_count);
	(void)inject_end(injection);
	return (int)found_count;
}

int inject_zap(const struct target *target, uint64_t address, uint64_t size_bytes,
	struct inject_zapped *ret_zapped, struct problem *problem)
{
	struct injector_request first = {.operation = INJECTOR_ZAP,
		.pid = target->pid,
		.pidfd = target->pidfd,
		.uffd = target->uffd,
		.address = address,
		.size_bytes = size_bytes};
	struct injector_answer answer = {0};
	int socket;

	ASSERT(address % PAGE_BYTES == 0);
	ASSERT(size_bytes > 0 && size_bytes % PAGE_BYTES == 0);
	socket = open_any(&first, &answer, problem);
	if (socket < 0)
		return socket;
	(void)close(socket);
	ret_zapped->result = (int)answer.result;
	ret_zapped->stopped_us = answer.stopped_us;
	return 0;
}
