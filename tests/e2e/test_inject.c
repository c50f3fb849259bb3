/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls injected into real processes: into a thread that sleeps in each kind of call, that
 * runs, that is stopped, filtered, unprivileged, killed. Nothing of it may be noticed there.
 */
#include "ctl/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

#include "attach_target.h"
#include "ctl/problem.h"
#include "ctl/target.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"

#define SLEEP_MS    600
#define GUEST_BYTES (8 * MIB)
#define INJECTIONS  5
#define NOBODY	    65534
static const uint64_t none[6];

/* ---- a thread that sleeps in each kind of call ---- */

static struct timespec sleep_time(void)
{
	return (struct timespec){.tv_nsec = SLEEP_MS * (long)NS_PER_MS};
}

static int64_t call_nanosleep(struct attach_shared *shared)
{
	struct timespec time = sleep_time();

	(void)shared;
	return syscall(SYS_nanosleep, &time, NULL);
}

static int64_t call_clock_nanosleep(struct attach_shared *shared)
{
	uint64_t end_ns = clock_ns() + SLEEP_MS * NS_PER_MS;
	struct timespec end = {
		.tv_sec = (time_t)(end_ns / NS_PER_S), .tv_nsec = (long)(end_ns % NS_PER_S)};

	(void)shared;
	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
}

static int64_t call_futex(struct attach_shared *shared)
{
	struct timespec time = sleep_time();
	int32_t word = 0;

	(void)shared;
	return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &time, NULL, 0);
}

static int64_t call_poll(struct attach_shared *shared)
{
	struct pollfd fd = {.fd = shared->descriptors[0], .events = POLLIN};

	return syscall(SYS_poll, &fd, 1, SLEEP_MS);
}

/* Blocks a signal for the time of the call only. */
static int64_t call_ppoll(struct attach_shared *shared)
{
	struct pollfd fd = {.fd = shared->descriptors[0], .events = POLLIN};
	struct timespec time = sleep_time();
	sigset_t mask;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGUSR2);
	return ppoll(&fd, 1, &time, &mask);
}

static int64_t call_select(struct attach_shared *shared)
{
	struct timeval time = {.tv_usec = SLEEP_MS * 1000};
	fd_set fds;

	FD_ZERO(&fds);
	FD_SET(shared->descriptors[0], &fds);
	return syscall(SYS_select, shared->descriptors[0] + 1, &fds, NULL, NULL, &time);
}

static int64_t call_read(struct attach_shared *shared)
{
	char byte;

	return read(shared->descriptors[0], &byte, 1);
}

static int64_t call_epoll_wait(struct attach_shared *shared)
{
	struct epoll_event event;
	int fd = epoll_create1(0);

	(void)shared;
	return syscall(SYS_epoll_wait, fd, &event, 1, SLEEP_MS);
}

/* Code that makes no call at all; a lost register shows in the sum. */
static int64_t call_none(struct attach_shared *shared)
{
	uint64_t sum = 1;
	uint64_t count = 0;

	while (!atomic_load_explicit(&shared->go, memory_order_relaxed)) {
		sum = sum * 6364136223846793005ull + 1442695040888963407ull;
		count++;
	}
	shared->value = sum;
	return (int64_t)count;
}

struct sleeper {
	const char *name;
	int64_t (*call)(struct attach_shared *shared);
	long number; /* -1: runs */
	int64_t result;
	int error;
	bool takes_its_time;
};

static const struct sleeper sleepers[] = {
	{"nanosleep", call_nanosleep, SYS_nanosleep, 0, 0, true},
	{"clock_nanosleep", call_clock_nanosleep, SYS_clock_nanosleep, 0, 0, true},
	{"futex", call_futex, SYS_futex, -1, ETIMEDOUT, true},
	{"poll", call_poll, SYS_poll, 0, 0, true},
	{"ppoll", call_ppoll, SYS_ppoll, 0, 0, true},
	{"select", call_select, SYS_select, 0, 0, true},
	{"read", call_read, SYS_read, 1, 0, false},
	/* The kernel never restarts it; why such threads come last. */
	{"epoll_wait", call_epoll_wait, SYS_epoll_wait, -1, EINTR, false},
};

static const struct sleeper *sleeper;

static void block_one_signal(sigset_t *ret_mask)
{
	(void)sigemptyset(ret_mask);
	(void)sigaddset(ret_mask, SIGUSR1);
	(void)sigprocmask(SIG_SETMASK, ret_mask, NULL);
}

static bool is_equal(const sigset_t *first, const sigset_t *second)
{
	for (int number = 1; number < SIGRTMAX; number++)
		if (sigismember(first, number) != sigismember(second, number))
			return false;
	return true;
}

static void sleeper_body(struct attach_shared *shared)
{
	sigset_t before;
	sigset_t after;
	uint64_t start_ns = clock_ns();

	block_one_signal(&before);
	shared->result = sleeper->call(shared);
	shared->error = shared->result < 0 ? errno : 0;
	shared->elapsed_ms = (clock_ns() - start_ns) / NS_PER_MS;
	(void)sigemptyset(&after);
	(void)sigprocmask(SIG_SETMASK, NULL, &after);
	shared->is_mask_kept = is_equal(&before, &after);
	atomic_store(&shared->is_done, true);
}

static void check_sleeper(const struct attach_shared *shared)
{
	(void)printf("    %-16s result %ld errno %d after %lu ms\n", sleeper->name, shared->result,
		shared->error, shared->elapsed_ms);
	CHECK(shared->result == sleeper->result);
	CHECK(shared->error == sleeper->error);
	CHECK(shared->is_mask_kept);
	if (sleeper->takes_its_time) {
		CHECK(shared->elapsed_ms >= SLEEP_MS);
		CHECK(shared->elapsed_ms < 3 * SLEEP_MS);
	}
}

static void a_sleeping_call_ends_as_if_nothing_had_been(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sleepers); i++) {
		sleeper = &sleepers[i];
		struct attach_target target = attach_start(sleeper_body);

		attach_await_syscall(target.pid, sleeper->number);
		/* A call that is not restarted ends with the first, and its process soon after. */
		for (int n = 0; n < (sleeper->error == EINTR ? 1 : INJECTIONS); n++)
			attach_inject_getppid(target.pid);
		if (sleeper->number == SYS_read)
			CHECK(write(target.shared->descriptors[1], "x", 1) == 1);
		attach_await(&target.shared->is_done);

		check_sleeper(target.shared);
		CHECK(attach_wait(&target) == 0);
	}
}

static void running_code_goes_on_with_its_registers(void)
{
	static const struct sleeper runner = {.name = "user code", .call = call_none};
	uint64_t sum = 1;

	sleeper = &runner;
	struct attach_target target = attach_start(sleeper_body);
	for (int n = 0; n < 200; n++)
		attach_inject_getppid(target.pid);
	atomic_store(&target.shared->go, true);
	attach_await(&target.shared->is_done);

	for (int64_t n = 0; n < target.shared->result; n++)
		sum = sum * 6364136223846793005ull + 1442695040888963407ull;
	CHECK(target.shared->value == sum);
	CHECK(target.shared->is_mask_kept);
	CHECK(attach_wait(&target) == 0);
}

/* ---- signals ---- */

static _Atomic uint64_t alarms;

static void count_alarm(int number)
{
	(void)number;
	atomic_fetch_add(&alarms, 1);
}

static void alarmed_body(struct attach_shared *shared)
{
	struct itimerval every = {{0, 300}, {0, 300}};

	(void)signal(SIGALRM, count_alarm);
	(void)setitimer(ITIMER_REAL, &every, NULL);
	shared->result = call_none(shared);
	every = (struct itimerval){0};
	(void)setitimer(ITIMER_REAL, &every, NULL);
	shared->elapsed_ms = alarms;
	atomic_store(&shared->is_done, true);
}

static void signals_that_come_meanwhile_are_delivered(void)
{
	uint64_t sum = 1;
	struct attach_target target = attach_start(alarmed_body);
	uint64_t start_ns = clock_ns();
	uint64_t duration_ms;

	for (int n = 0; n < 500; n++) {
		struct injection *injection = attach_begin(target.pid);

		for (int call = 0; call < 4; call++)
			CHECK(inject_call(injection, SYS_getppid, none) == getpid());
		(void)inject_end(injection);
	}
	duration_ms = (clock_ns() - start_ns) / NS_PER_MS;
	atomic_store(&target.shared->go, true);
	attach_await(&target.shared->is_done);

	for (int64_t n = 0; n < target.shared->result; n++)
		sum = sum * 6364136223846793005ull + 1442695040888963407ull;
	(void)printf("    %lu alarms in %lu ms\n", target.shared->elapsed_ms, duration_ms);
	CHECK(target.shared->value == sum);
	CHECK(target.shared->elapsed_ms > duration_ms / 10);
	CHECK(attach_wait(&target) == 0);
}

static void the_signal_mask_is_not_touched_even_during_an_injection(void)
{
	struct attach_target target = attach_start(attach_wait_body);
	attach_await_syscall(target.pid, SYS_read);
	uint64_t before = attach_blocked(target.pid);

	struct injection *injection = attach_begin(target.pid);
	uint64_t during = attach_blocked(target.pid);
	CHECK(inject_call(injection, SYS_getppid, none) == getpid());
	(void)inject_end(injection);

	CHECK(during == before);
	CHECK(attach_blocked(target.pid) == before);
	attach_stop(&target);
}

static void a_stopped_target_works_and_stays_stopped(void)
{
	struct attach_target target = attach_start(attach_wait_body);
	attach_await_syscall(target.pid, SYS_read);
	CHECK(kill(target.pid, SIGSTOP) == 0);
	attach_await_state(target.pid, 'T');

	for (int n = 0; n < INJECTIONS; n++) {
		attach_inject_getppid(target.pid);
		attach_await_state(target.pid, 'T');
	}
	CHECK(write(target.shared->descriptors[1], "x", 1) == 1);

	CHECK(!target.shared->is_done);
	CHECK(kill(target.pid, SIGCONT) == 0);
	attach_await(&target.shared->is_done);
	CHECK(target.shared->result == 1);
	CHECK(attach_wait(&target) == 0);
}

/* ---- the end of things ---- */

static void a_target_killed_in_the_middle_is_gone(void)
{
	struct attach_target target = attach_start(attach_wait_body);
	attach_await_syscall(target.pid, SYS_read);
	struct target named = {
		.pid = target.pid,
		.pidfd = (int)syscall(SYS_pidfd_open, target.pid, 0),
		.uffd = -1,
	};
	struct injection *injection = attach_begin(target.pid);
	CHECK(inject_call(injection, SYS_getppid, none) == getpid());

	CHECK(kill(target.pid, SIGKILL) == 0);
	long result = inject_call(injection, SYS_getppid, none);
	(void)inject_end(injection);

	CHECK(result == -ESRCH);
	struct problem problem = {0};
	CHECK(WIFSIGNALED(attach_wait(&target)));
	CHECK(inject_begin(&named, &injection, &problem) == -ESRCH);
	CHECK(strcmp(problem.reason, "process-gone") == 0);
	target_close(&named);
}

static void two_injections_at_once_are_refused(void)
{
	struct attach_target target = attach_start(attach_wait_body);
	attach_await_syscall(target.pid, SYS_read);
	struct problem problem = {0};
	struct injection *second = NULL;

	struct injection *first = attach_begin(target.pid);
	int error = attach_try(target.pid, &second, &problem);
	CHECK(inject_call(first, SYS_getppid, none) == getpid());
	(void)inject_end(first);

	CHECK(error == -EBUSY);
	CHECK(strcmp(problem.reason, "already-traced") == 0);
	attach_inject_getppid(target.pid);
	attach_stop(&target);
}

static void guest_body(struct attach_shared *shared)
{
	uint8_t *memory = attach_guest(shared, GUEST_BYTES);

	attach_wait_body(shared);
	shared->value = attach_guest_is_right(memory, GUEST_BYTES);
	atomic_store(&shared->is_done, true);
}

static void locked_guest_body(struct attach_shared *shared)
{
	uint8_t *memory = attach_guest(shared, GUEST_BYTES);

	/* The sanitizers make the libc call do nothing. */
	CHECK(syscall(SYS_mlock, memory, GUEST_BYTES) == 0);
	attach_wait_body(shared);
	shared->value = attach_guest_is_right(memory, GUEST_BYTES);
}

static void check_zap(attach_body *body)
{
	struct attach_target target = attach_start(body);
	struct attach_shared *shared = target.shared;
	attach_await_syscall(target.pid, SYS_read);
	uint64_t before = attach_present(target.pid, shared->address, GUEST_BYTES);

	struct inject_zapped zapped;
	int error = attach_zap(target.pid, shared->address, GUEST_BYTES, &zapped);

	CHECK(error == 0);
	CHECK(zapped.result == 0);
	CHECK(before == GUEST_BYTES / PAGE_BYTES);
	CHECK(attach_present(target.pid, shared->address, GUEST_BYTES) == 0);
	CHECK(write(shared->descriptors[1], "x", 1) == 1);
	pid_t pid = target.pid;
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(shared->value == 1);
}

static void a_zap_unmaps_all_and_keeps_the_content(void)
{
	check_zap(guest_body);
}

static void a_zap_of_locked_memory_unmaps_all_and_keeps_the_content(void)
{
	check_zap(locked_guest_body);
}

static void an_error_of_a_call_is_its_result(void)
{
	struct attach_target target = attach_start(attach_wait_body);
	attach_await_syscall(target.pid, SYS_read);
	const uint64_t bad_descriptor[6] = {12345};

	struct injection *injection = attach_begin(target.pid);
	long result = inject_call(injection, SYS_close, bad_descriptor);
	(void)inject_end(injection);
	struct inject_zapped zapped;
	int error = attach_zap(target.pid, PAGE_BYTES, PAGE_BYTES, &zapped);

	CHECK(result == -EBADF);
	CHECK(error == 0);
	CHECK(zapped.result == -ENOMEM);
	attach_stop(&target);
}

int main(void)
{
	if (geteuid() != 0) {
		(void)printf("needs root\n");
		return 77;
	}
	attach_start_injector();
	if (!ATTACH_HAS_OWN_THREAD)
		RUN(a_sleeping_call_ends_as_if_nothing_had_been);
	RUN(running_code_goes_on_with_its_registers);
	RUN(signals_that_come_meanwhile_are_delivered);
	RUN(the_signal_mask_is_not_touched_even_during_an_injection);
	RUN(a_stopped_target_works_and_stays_stopped);
	RUN(a_target_killed_in_the_middle_is_gone);
	RUN(two_injections_at_once_are_refused);
	RUN(a_zap_unmaps_all_and_keeps_the_content);
	RUN(a_zap_of_locked_memory_unmaps_all_and_keeps_the_content);
	RUN(an_error_of_a_call_is_its_result);
	return 0;
}
