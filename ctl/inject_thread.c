/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every stop interrupts the system call a thread sleeps in. Most are restarted by the kernel
 * unseen; a few return EINTR to the program, which a VMM handles but which we need not provoke. So
 * threads are ranked by what /proc/PID/task/TID/syscall says they sleep in:
 *
 *     3  futex, poll, select, nanosleep, read, wait: restarted, with the time that is left
 *     2  ioctl(KVM_RUN): returns EINTR, which is how VMMs are kicked anyway; accept and recv:
 * restarted unless the socket has a timeout 1  running, or any other call 0  epoll_wait,
 * sigtimedwait, semop, io_uring_enter, io_getevents: always EINTR
 *
 * and a thread that is not the main one is preferred (main loops are what a VMM must not miss).
 * Never chosen: threads in uninterruptible sleep (the stop would last as long as their I/O), and
 * kernel workers inside the process (io_uring, KVM's, vhost's): they can be stopped but never run
 * user code. The first thread of the best rank ends the search; a VMM with hundreds of threads
 * costs no more.
 */
#include "ctl/inject_thread.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "ctl/injector.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

/* Flags of the kernel's task_struct, as /proc/PID/stat shows them. */
#define TASK_EXITING	   0x4u
#define TASK_IO_WORKER	   0x10u
#define TASK_USER_WORKER   0x4000u
#define TASK_KERNEL_THREAD 0x200000u
#define TASK_UNSUITED	   (TASK_EXITING | TASK_IO_WORKER | TASK_USER_WORKER | TASK_KERNEL_THREAD)

#define KVM_RUN 0xae80u

#define SCORE_BEST	   7u /* 3 twice, and not the main thread */
#define SYSCALL_TEXT_BYTES 256

struct rating {
	long number;
	uint32_t score;
};

static const struct rating ratings[] = {
	{SYS_futex, 3},
	{SYS_poll, 3},
	{SYS_ppoll, 3},
	{SYS_select, 3},
	{SYS_pselect6, 3},
	{SYS_nanosleep, 3},
	{SYS_clock_nanosleep, 3},
	{SYS_read, 3},
	{SYS_wait4, 3},
	{SYS_waitid, 3},
	{SYS_accept, 2},
	{SYS_accept4, 2},
	{SYS_recvfrom, 2},
	{SYS_recvmsg, 2},
	{SYS_epoll_wait, 0},
	{SYS_epoll_pwait, 0},
	{SYS_epoll_pwait2, 0},
	{SYS_rt_sigtimedwait, 0},
	{SYS_semop, 0},
	{SYS_semtimedop, 0},
	{SYS_io_uring_enter, 0},
	{SYS_io_getevents, 0},
};

uint32_t inject_thread_score(long number, uint64_t second_argument)
{
	if (number == SYS_ioctl)
		return second_argument == KVM_RUN ? 2 : 1;
	for (size_t i = 0; i < ARRAY_SIZE(ratings); i++)
		if (ratings[i].number == number)
			return ratings[i].score;
	return 1;
}

struct candidate {
	pid_t tid;
	uint32_t score;
};

struct search {
	pid_t pid;
	pid_t traced; /* a thread that is traced already, or 0 */
	pid_t tracer; /* the thread that traces it */
	bool is_seen; /* at least one thread was there */
	uint32_t count;
	struct candidate best[INJECT_THREADS_MAX]; /* sorted, best first */
};

static void keep_best(struct search *search, struct candidate candidate)
{
	uint32_t at = search->count;

	while (at > 0 && search->best[at - 1].score < candidate.score)
		at--;
	if (at == INJECT_THREADS_MAX)
		return;
	search->count = MIN(search->count + 1, INJECT_THREADS_MAX);
	for (uint32_t i = search->count - 1; i > at; i--)
		search->best[i] = search->best[i - 1];
	search->best[at] = candidate;
}

/* "running", or "NUMBER ARGUMENT ARGUMENT …", NUMBER -1 outside a system call. */
static uint32_t rate(pid_t pid, pid_t tid)
{
	char path[PROCFS_PATH_BYTES];
	char text[SYSCALL_TEXT_BYTES];
	uint64_t number = UINT64_MAX;
	uint64_t ignored;
	uint64_t second_argument = 0;
	const char *at = text;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	if (procfs_read(path, text, sizeof(text)) > 0 &&
		procfs_take_number(&at, 10, ' ', &number) &&
		procfs_take_number(&at, 16, ' ', &ignored))
		(void)procfs_take_number(&at, 16, ' ', &second_argument);
	return 2 * inject_thread_score((long)number, second_argument) + (tid != pid);
}

/* 0: nobody traces it. */
static pid_t tracer_of(pid_t pid, pid_t tid)
{
	struct procfs_status status;

	return procfs_status(pid, tid, &status) == 0 ? status.tracer : 0;
}

/* Our own, or that of a worker before us, which finishes what it was asked. */
static bool is_injector(pid_t tracer)
{
	struct procfs_stat stat;

	return procfs_stat(tracer, 0, &stat) == 0 && strcmp(stat.comm, INJECTOR_NAME) == 0;
}

static int explain_traced(const struct search *search, struct problem *problem)
{
	if (is_injector(search->tracer))
		return problem_set(problem, -EALREADY, "already-traced",
			"an injector of vmswapd (thread %d), maybe of a worker that has died, is "
			"at "
			"work in process %d; try again when it has finished",
			search->tracer, search->pid);
	return problem_set(problem, -EBUSY, "already-traced",
		"thread %d of process %d is traced already (a debugger); end that first",
		search->traced, search->pid);
}

/* 1 ends the walk: a perfect thread, or one that is traced. */
static int visit_thread(void *context, int tid)
{
	struct search *search = context;
	struct candidate candidate = {.tid = tid};
	struct procfs_stat stat;

	if (procfs_stat(search->pid, tid, &stat) < 0)
		return 0; /* ended meanwhile */
	search->is_seen |= !strchr("ZX", stat.state);
	search->tracer = tracer_of(search->pid, tid);
	if (search->tracer) {
		search->traced = tid;
		return 1;
	}
	if ((stat.flags & TASK_UNSUITED) || strchr("DZXt", stat.state))
		return 0;
	candidate.score = rate(search->pid, tid);
	keep_best(search, candidate);
	return candidate.score == SCORE_BEST;
}

int inject_thread_choose(pid_t pid, struct inject_threads *ret_threads, struct problem *problem)
{
	struct search search = {.pid = pid};
	char path[PROCFS_PATH_BYTES];
	int error;

	ASSERT(pid > 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
	error = procfs_each(path, visit_thread, &search);
	if (error == -ESRCH || (error == 0 && !search.is_seen))
		return problem_set(problem, -ESRCH, "process-gone", "process %d has ended", pid);
	if (error < 0)
		return problem_set(problem, error, "proc", "%s: %s", path, strerror(-error));
	if (search.traced)
		return explain_traced(&search, problem);
	if (search.count == 0)
		return problem_set(problem, -EAGAIN, "no-thread",
			"every thread of process %d is in uninterruptible sleep (D) or a kernel "
			"worker",
			pid);
	for (uint32_t i = 0; i < search.count; i++)
		ret_threads->tid[i] = search.best[i].tid;
	ret_threads->count = search.count;
	return 0;
}
