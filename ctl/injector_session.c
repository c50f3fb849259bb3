/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever has asked may be gone at any time, and nothing here depends on it: an answer that nobody
 * takes is dropped, and the next request that is not there is the end.
 *
 * userfaultfds are unclaimed from the answer that carries them until the next request, which shows
 * that the answer was read. Nothing is registered on them before the END is sent, so unclaimed ones
 * can be closed in the target.
 *
 * Nothing here allocates. Below, syscall_insn.c does for a thread that was caught in user code (the
 * buffer of /proc/PID/maps); all other ways are free of it.
 */
#include "ctl/injector_session.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "ctl/inject_uffd.h"
#include "ctl/procfs.h"
#include "ctl/target.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* Since Linux 5.18; takes mlocked ranges too. */
#define MADVISE_DONTNEED_LOCKED 24

static void close_remote(struct injector_session *session, const int *remote, uint32_t count)
{
	long result = 0;

	/* Each that did not begin in time was waited for: then none of the others. */
	for (uint32_t i = 0; result != -ETIMEDOUT && i < count; i++) {
		const uint64_t argument[6] = {(uint64_t)remote[i]};

		if (remote[i] >= 0)
			result = tracee_call(&session->tracee, SYS_close, argument);
	}
}

static void release(struct injector_session *session)
{
	tracee_wait_out(&session->tracee);
	close_remote(session, session->unclaimed, session->unclaimed_count);
	tracee_release(&session->tracee);
}

static long zap(struct injector_session *session)
{
	const struct injector_request *request = &session->request;
	uint64_t argument[6] = {request->address, request->size_bytes, MADVISE_DONTNEED_LOCKED};
	long result = tracee_call(&session->tracee, SYS_madvise, argument);

	if (result != -EINVAL)
		return result;
	argument[2] = MADV_DONTNEED;
	return tracee_call(&session->tracee, SYS_madvise, argument);
}

static long make_uffds(struct injector_session *session, struct injector_answer *answer,
	struct injector_message *message)
{
	const uint32_t count = session->request.count;
	const int error = inject_uffd_make(
		&session->tracee, count, message->fds, answer->remote, &answer->problem);

	if (error)
		return error;
	message->fd_count = count;
	memcpy(session->unclaimed, answer->remote, count * sizeof(*session->unclaimed));
	session->unclaimed_count = count;
	return 0;
}

/* Whole, so that the stop lasts no longer than the call. */
static long run_zap(struct injector_session *session, struct injector_answer *answer)
{
	const uint64_t stopped_ns = session->tracee.stopped_ns;
	const long result = zap(session);

	if (!tracee_is_late(&session->tracee))
		release(session);
	answer->stopped_us = (clock_ns() - stopped_ns) / NS_PER_US;
	return result;
}

/*
 * Both numbers were looked up before the stop and may have been given to others since. No more: the
 * stopped thread keeps its own and that of its process until it is dead, and then nothing runs in
 * it. So one look lasts for the session: the thread belongs to a process numbered pid, and the one
 * that is meant lives, so that its number, the same, is nobody else's.
 *
 * Nor does its program change: the thread executes none while it is ours, and another one that does
 * ends it.
 */
static long check_meant(const struct injector_session *session, struct problem *problem)
{
	const struct injector_request *request = &session->request;
	const struct target meant = {
		.pid = request->pid, .pidfd = session->pidfd, .uffd = session->uffd};
	struct procfs_stat ignored;
	const int error = procfs_stat(request->pid, request->tid, &ignored);

	if (!target_is_alive(&meant))
		return problem_set(problem, -ESTALE, "process-gone",
			"process %d has ended, or runs another program", request->pid);
	if (error)
		return problem_set(problem, error, "thread-gone",
			"thread %d of process %d has ended", request->tid, request->pid);
	return 0;
}

static long stop(struct injector_session *session, struct injector_answer *answer)
{
	const struct injector_request *request = &session->request;
	long result = tracee_stop(&session->tracee, request->pid, request->tid, &answer->problem);

	if (result == 0) {
		result = check_meant(session, &answer->problem);
		if (result)
			tracee_release(&session->tracee);
	}
	answer->is_stopped = result == 0;
	return result;
}

static long run(struct injector_session *session, struct injector_answer *answer,
	struct injector_message *message)
{
	const struct injector_request *request = &session->request;
	long result;

	switch (request->operation) {
	case INJECTOR_BEGIN: return stop(session, answer);
	case INJECTOR_ZAP:
		result = stop(session, answer);
		return result == 0 ? run_zap(session, answer) : result;
	case INJECTOR_CALL:
		return tracee_call(&session->tracee, request->number, request->argument);
	case INJECTOR_UFFDS: return make_uffds(session, answer, message);
	case INJECTOR_CLOSE: close_remote(session, request->remote, request->count); return 0;
	case INJECTOR_END: release(session); return 0;
	}
	UNREACHABLE();
}

/* Runs what was asked and says how it went. True while the target stands and more may come. */
static bool answer_request(struct injector_session *session)
{
	struct injector_answer answer = {0};
	int fds[SHARDS_MAX];
	struct injector_message message = {
		.bytes = &answer, .size_bytes = sizeof(answer), .fds = fds};
	const struct tracee *tracee = &session->tracee;

	answer.result = run(session, &answer, &message);
	answer.is_late = tracee_is_late(tracee);
	if (tracee->stopped_ns && answer.stopped_us == 0)
		answer.stopped_us = (clock_ns() - tracee->stopped_ns) / NS_PER_US;
	(void)injector_send(session->socket, &message);
	for (uint32_t i = 0; i < message.fd_count; i++)
		close_fd(fds[i]);
	return tracee->state == TRACEE_STANDS;
}

/* False: the worker has gone, or hangs. */
static bool next_request(struct injector_session *session)
{
	struct injector_message message = {
		.bytes = &session->request, .size_bytes = sizeof(session->request)};

	if (injector_receive(session->socket, &message, INJECTOR_IDLE_MS) < 0)
		return false;
	session->unclaimed_count = 0;
	return true;
}

void injector_session_run(struct injector_session *session)
{
	ASSERT(session->socket >= 0);
	ASSERT(session->request.operation == INJECTOR_BEGIN ||
		session->request.operation == INJECTOR_ZAP);
	while (answer_request(session) && next_request(session))
		continue;
	release(session);
}
