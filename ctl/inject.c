/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An injection is a thread of ours (the tracer) that stops one thread of the target, runs what it
 * is asked, puts everything back and ends:
 *
 *     caller                               tracer
 *     inject_begin   -- thread starts -->  stop a thread        (tracee.c)
 *                    <-- stopped ------
 *     inject_call    -- ASKED --------->   run it
 *                    <-- ANSWERED -----
 *     inject_end     -- ASKED end ----->   registers back, detach
 *                    <-- thread ends --
 *
 * Why a thread of its own:
 *  1. A thread that was seized and does not stop cannot be let go by any call of ptrace(2), but the
 * end of its tracer lets it go at once. So one that hangs in I/O is given up without a trace, and
 * the next best is tried.
 *  2. A call that does not return in time must not be torn: the thread would go on with our
 * registers. The caller gets -ETIMEDOUT and may end the injection; the tracer stays behind, waits
 * without a bound for the call to return (or the process to die), puts the registers back and
 * detaches. While it waits, a new injection into that process is refused with -EBUSY: there is at
 * most one such tracer a process.
 *
 * Two injections into one process at once would be harmless (each has a thread of its own), but are
 * refused when seen, as any other tracer is.
 *
 * If the daemon dies in between, the kernel detaches: the thread goes on after its system call as
 * if that had returned early with our result. Its signal mask is untouched at all times, so nothing
 * is left for a successor to repair (tracee.c, 3).
 */
#include "ctl/inject.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "ctl/inject_thread.h"
#include "ctl/inject_uffd.h"
#include "ctl/problem.h"
#include "ctl/tracee.h"
#include "engine/limits.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* Since Linux 5.18; takes mlocked ranges too. */
#define MADVISE_DONTNEED_LOCKED 24
/* A tracer that has not answered by then hangs in the kernel itself (an exec of the target that
 * does not end, text on a dead disk). */
#define ANSWER_GRACE_MS	   5000u
#define TRACER_STACK_BYTES (256 * KIB)
/* Rounds of choosing a thread: each may fail because all sleep in I/O or one sits in rseq. */
#define CHOICES_MAX	100u
#define CHOICE_PAUSE_NS (10 * NS_PER_MS)

enum operation { OPERATION_STOP, OPERATION_CALL, OPERATION_UFFDS, OPERATION_CLOSE, OPERATION_END };

enum mailbox { MAILBOX_IDLE, MAILBOX_ASKED, MAILBOX_ANSWERED };

struct injection {
	/* set before the tracer starts, then constant */
	pid_t pid;
	pid_t tid;
	pthread_t tracer;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* tracer only */
	struct tracee tracee;
	/* under lock */
	enum mailbox mailbox;
	bool is_finished;  /* the tracer lets go and ends */
	bool is_abandoned; /* the caller has gone: the tracer frees this */
	enum operation operation;
	long number;
	uint64_t argument[6];
	uint32_t count;
	int fds[SHARDS_MAX]; /* OPERATION_UFFDS: made; -1 once the caller has them */
	int remote[SHARDS_MAX];
	long result;
	bool is_late; /* a call has not come back: nothing else can be run */
	uint64_t stopped_us;
	struct problem problem;
};

static void injection_free(struct injection *injection)
{
	for (uint32_t i = 0; i < SHARDS_MAX; i++)
		close_fd(injection->fds[i]);
	(void)pthread_cond_destroy(&injection->changed);
	(void)pthread_mutex_destroy(&injection->lock);
	free(injection);
}

static struct injection *injection_new(pid_t pid, pid_t tid)
{
	struct injection *injection = calloc(1, sizeof(*injection));
	pthread_condattr_t attributes;

	if (!injection)
		return NULL;
	injection->pid = pid;
	injection->tid = tid;
	for (uint32_t i = 0; i < SHARDS_MAX; i++)
		injection->fds[i] = -1;
	(void)pthread_mutex_init(&injection->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&injection->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	/* The first thing asked: to stop the thread. */
	injection->mailbox = MAILBOX_ASKED;
	injection->operation = OPERATION_STOP;
	return injection;
}

/* ---- tracer ---- */

static long run_uffds(struct injection *injection)
{
	int fds[SHARDS_MAX];
	int remote[SHARDS_MAX];
	struct problem problem = {0};
	int error = inject_uffd_make(&injection->tracee, injection->count, fds, remote, &problem);

	(void)pthread_mutex_lock(&injection->lock);
	injection->problem = problem;
	if (!error) {
		memcpy(injection->fds, fds, injection->count * sizeof(*fds));
		memcpy(injection->remote, remote, injection->count * sizeof(*remote));
	}
	(void)pthread_mutex_unlock(&injection->lock);
	return error;
}

static long run_close(struct injection *injection)
{
	for (uint32_t i = 0; i < injection->count; i++) {
		const uint64_t argument[6] = {(uint64_t)injection->remote[i]};

		(void)tracee_call(&injection->tracee, SYS_close, argument);
	}
	return 0;
}

/* The mailbox is ASKED: nobody else touches what was asked until it is answered. */
static long run(struct injection *injection)
{
	struct tracee *tracee = &injection->tracee;

	switch (injection->operation) {
	case OPERATION_STOP:
		return tracee_stop(tracee, injection->pid, injection->tid, &injection->problem);
	case OPERATION_CALL: return tracee_call(tracee, injection->number, injection->argument);
	case OPERATION_UFFDS: return run_uffds(injection);
	case OPERATION_CLOSE: return run_close(injection);
	case OPERATION_END: tracee_release(tracee); return 0;
	}
	UNREACHABLE();
}

/* Waits for the next thing to do; END when the caller has given up. */
static enum operation next_asked(struct injection *injection)
{
	(void)pthread_mutex_lock(&injection->lock);
	while (injection->mailbox != MAILBOX_ASKED && !injection->is_abandoned)
		(void)pthread_cond_wait(&injection->changed, &injection->lock);
	if (injection->is_abandoned)
		injection->operation = OPERATION_END;
	(void)pthread_mutex_unlock(&injection->lock);
	return injection->operation;
}

static void answer(struct injection *injection, long result)
{
	uint64_t stopped_ns = injection->tracee.stopped_ns;

	(void)pthread_mutex_lock(&injection->lock);
	injection->result = result;
	injection->is_late = injection->tracee.is_in_call;
	if (stopped_ns)
		injection->stopped_us = (clock_ns() - stopped_ns) / NS_PER_US;
	injection->mailbox = MAILBOX_ANSWERED;
	(void)pthread_cond_signal(&injection->changed);
	(void)pthread_mutex_unlock(&injection->lock);
}

/* A call that is late keeps the tracer until it is back. */
static void wait_out(struct injection *injection)
{
	tracee_wait_out(&injection->tracee);
	(void)pthread_mutex_lock(&injection->lock);
	injection->is_late = false;
	(void)pthread_mutex_unlock(&injection->lock);
}

static void *tracer_main(void *context)
{
	struct injection *injection = context;
	enum operation operation;
	bool is_abandoned;

	do {
		long result;

		operation = next_asked(injection);
		result = run(injection);
		answer(injection, result);
		/* A stop that failed is let go by the end of this thread. */
		if (operation == OPERATION_STOP && result < 0)
			break;
		wait_out(injection);
	} while (operation != OPERATION_END);
	(void)pthread_mutex_lock(&injection->lock);
	injection->is_finished = true;
	is_abandoned = injection->is_abandoned;
	(void)pthread_cond_signal(&injection->changed);
	(void)pthread_mutex_unlock(&injection->lock);
	if (is_abandoned)
		injection_free(injection);
	return NULL;
}

/* ---- caller ---- */

/* Signals are the main thread's: the tracer blocks them all. */
static int start_tracer(struct injection *injection)
{
	pthread_attr_t attributes;
	sigset_t all;
	sigset_t before;
	int error;

	(void)sigfillset(&all);
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, TRACER_STACK_BYTES);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&injection->tracer, &attributes, tracer_main, injection);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
	return -error;
}

/* With the lock held: the tracer waits for something to do. */
static bool is_ready(const struct injection *injection)
{
	return injection->mailbox == MAILBOX_IDLE && !injection->is_late;
}

static struct timespec after_ms(uint64_t timeout_ms)
{
	uint64_t end_ns = clock_ns() + timeout_ms * NS_PER_MS;

	return (struct timespec){
		.tv_sec = (time_t)(end_ns / NS_PER_S),
		.tv_nsec = (long)(end_ns % NS_PER_S),
	};
}

/* Takes the answer; with the lock held. -ETIMEDOUT: the tracer is not there in time. */
static long take_answer(struct injection *injection, uint64_t timeout_ms)
{
	struct timespec end = after_ms(timeout_ms);
	int late = 0;

	while (injection->mailbox != MAILBOX_ANSWERED && late == 0)
		late = pthread_cond_timedwait(&injection->changed, &injection->lock, &end);
	if (injection->mailbox != MAILBOX_ANSWERED)
		return -ETIMEDOUT;
	injection->mailbox = MAILBOX_IDLE;
	return injection->result;
}

/* Asks for one call, or for one of our operations, whose arguments are set already. */
static long ask(struct injection *injection, enum operation operation)
{
	/* Each of the calls of an operation may be waited for, but only the last one may be late.
	 */
	uint64_t timeout_ms =
		TRACEE_CALL_MS + TRACEE_STOP_MS + TRACEE_INTERRUPT_MS + ANSWER_GRACE_MS;

	ASSERT(injection->mailbox == MAILBOX_IDLE);
	injection->operation = operation;
	injection->mailbox = MAILBOX_ASKED;
	(void)pthread_cond_signal(&injection->changed);
	return take_answer(injection, timeout_ms);
}

/* Frees the injection, or leaves that to a tracer that is still busy. */
static uint64_t finish(struct injection *injection, uint64_t timeout_ms)
{
	struct timespec end = after_ms(timeout_ms);
	uint64_t stopped_us;
	bool is_finished;
	int late = 0;

	(void)pthread_mutex_lock(&injection->lock);
	while (!injection->is_finished && late == 0)
		late = pthread_cond_timedwait(&injection->changed, &injection->lock, &end);
	is_finished = injection->is_finished;
	stopped_us = injection->stopped_us;
	if (!is_finished) {
		injection->is_abandoned = true;
		(void)pthread_cond_signal(&injection->changed);
		(void)pthread_detach(injection->tracer);
	}
	(void)pthread_mutex_unlock(&injection->lock);
	if (is_finished) {
		(void)pthread_join(injection->tracer, NULL);
		injection_free(injection);
	}
	return stopped_us;
}

static int begin_thread(
	pid_t pid, pid_t tid, struct injection **ret_injection, struct problem *problem)
{
	struct injection *injection = injection_new(pid, tid);
	int error;

	if (!injection)
		return problem_set(problem, -ENOMEM, "no-memory", "no memory for an injection");
	error = start_tracer(injection);
	if (error) {
		injection_free(injection);
		return problem_set(
			problem, error, "no-thread", "no tracer thread: %s", strerror(-error));
	}
	(void)pthread_mutex_lock(&injection->lock);
	error = (int)take_answer(injection, TRACEE_STOP_MS + ANSWER_GRACE_MS);
	if (error && problem)
		*problem = injection->problem;
	(void)pthread_mutex_unlock(&injection->lock);
	if (error) {
		(void)finish(injection, TRACEE_STOP_MS);
		return error;
	}
	*ret_injection = injection;
	return 0;
}

/* Another thread, or the same a moment later, may do. */
static bool is_worth_another(int error)
{
	return error == -ETIMEDOUT || error == -EAGAIN || error == -ESRCH;
}

/* One choice of threads, tried in their order. */
static int begin_best(pid_t pid, struct injection **ret_injection, struct problem *problem)
{
	struct inject_threads threads;
	int error = inject_thread_choose(pid, &threads, problem);

	if (error)
		return error;
	for (uint32_t i = 0; i < threads.count; i++) {
		error = begin_thread(pid, threads.tid[i], ret_injection, problem);
		if (!is_worth_another(error))
			return error;
	}
	/* A thread may end at any time: whether the process has, the next choice tells. */
	return error == -ESRCH ? -EAGAIN : error;
}

int inject_begin(pid_t pid, struct injection **ret_injection, struct problem *problem)
{
	const struct timespec pause = {.tv_nsec = (long)CHOICE_PAUSE_NS};
	int error;

	ASSERT(pid > 0 && pid != getpid());
	for (uint32_t i = 0; i < CHOICES_MAX; i++) {
		error = begin_best(pid, ret_injection, problem);
		if (error != -EAGAIN)
			return error;
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return problem_set(problem, -ETIMEDOUT, "no-thread",
		"no thread of process %d can be stopped: all are in uninterruptible sleep (state D "
		"in "
		"ps -L); try again when its I/O is done",
		pid);
}

long inject_call(struct injection *injection, long number, const uint64_t argument[6])
{
	long result = -ETIMEDOUT;

	ASSERT(injection);
	ASSERT(number >= 0);
	(void)pthread_mutex_lock(&injection->lock);
	if (is_ready(injection)) {
		injection->number = number;
		memcpy(injection->argument, argument, sizeof(injection->argument));
		result = ask(injection, OPERATION_CALL);
	}
	(void)pthread_mutex_unlock(&injection->lock);
	return result;
}

uint64_t inject_end(struct injection *injection)
{
	if (!injection)
		return 0;
	(void)pthread_mutex_lock(&injection->lock);
	if (injection->mailbox == MAILBOX_IDLE) {
		injection->operation = OPERATION_END;
		injection->mailbox = MAILBOX_ASKED;
		(void)pthread_cond_signal(&injection->changed);
	}
	(void)pthread_mutex_unlock(&injection->lock);
	return finish(injection, TRACEE_INTERRUPT_MS);
}

int inject_uffds(struct injection *injection, uint32_t count, int *ret_fds, int *ret_remote,
	struct problem *problem)
{
	int error = -ETIMEDOUT;

	ASSERT(count > 0 && count <= SHARDS_MAX);
	(void)pthread_mutex_lock(&injection->lock);
	if (is_ready(injection)) {
		injection->count = count;
		error = (int)ask(injection, OPERATION_UFFDS);
	}
	for (uint32_t i = 0; i < count && !error; i++) {
		ret_fds[i] = take_fd(&injection->fds[i]);
		ret_remote[i] = injection->remote[i];
	}
	if (error == -ETIMEDOUT)
		(void)problem_set(problem, error, "call-timeout",
			"process %d did not finish making its userfaultfds in time",
			injection->pid);
	else if (error && problem)
		*problem = injection->problem;
	(void)pthread_mutex_unlock(&injection->lock);
	return error;
}

void inject_close(struct injection *injection, const int *remote, uint32_t count)
{
	ASSERT(count <= SHARDS_MAX);
	(void)pthread_mutex_lock(&injection->lock);
	if (is_ready(injection) && count > 0) {
		injection->count = count;
		memcpy(injection->remote, remote, count * sizeof(*remote));
		(void)ask(injection, OPERATION_CLOSE);
	}
	(void)pthread_mutex_unlock(&injection->lock);
}

int inject_zap(struct injection *injection, uint64_t address, uint64_t size_bytes)
{
	uint64_t argument[6] = {address, size_bytes, MADVISE_DONTNEED_LOCKED};
	long result;

	ASSERT(address % PAGE_BYTES == 0);
	ASSERT(size_bytes > 0 && size_bytes % PAGE_BYTES == 0);
	result = inject_call(injection, SYS_madvise, argument);
	if (result != -EINVAL)
		return (int)result;
	argument[2] = MADV_DONTNEED;
	return (int)inject_call(injection, SYS_madvise, argument);
}
