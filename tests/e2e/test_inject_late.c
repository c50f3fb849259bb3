/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Injected calls that do not come back in time, and threads that cannot be stopped. The limits are
 * made short by compiling tracee.c into this program.
 */
#include "ctl/tracee.h"

#undef TRACEE_CALL_MS
#define TRACEE_CALL_MS 300u
#undef TRACEE_INTERRUPT_MS
#define TRACEE_INTERRUPT_MS 200u
#include "ctl/tracee.c"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attach_target.h"
#include "ctl/inject.h"
#include "io/uffd.h"

#define GUEST_BYTES MIB

static const uint64_t none[6];

static void waiting_body(struct attach_shared *shared)
{
	char byte;
	uint8_t *memory =
		mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(memory != MAP_FAILED);
	shared->address = (uint64_t)memory;
	atomic_store(&shared->is_ready, true);
	shared->result = read(shared->descriptors[0], &byte, 1);
	shared->value = memory[0];
	atomic_store(&shared->is_done, true);
}

static struct attach_target start_waiting(void)
{
	struct attach_target target = attach_start(waiting_body);

	attach_await(&target.shared->is_ready);
	attach_await_syscall(target.pid, SYS_read);
	return target;
}

/* Its own read goes on as if nothing had been. */
static void check_unharmed(struct attach_target *target)
{
	CHECK(write(target->shared->descriptors[1], "x", 1) == 1);
	attach_await(&target->shared->is_done);
	CHECK(target->shared->result == 1);
	CHECK(attach_wait(target) == 0);
}

static void a_call_that_sleeps_is_interrupted_and_leaves_the_target_as_it_was(void)
{
	struct attach_target target = start_waiting();
	uint64_t start_ns = clock_ns();

	struct injection *injection = attach_begin(target.pid);
	long result = inject_call(injection, SYS_poll, (const uint64_t[6]){0, 0, UINT32_MAX});
	long next = inject_call(injection, SYS_getppid, none);
	(void)inject_end(injection);

	CHECK(result == -ETIMEDOUT);
	CHECK(clock_ns() - start_ns >= TRACEE_CALL_MS * NS_PER_MS);
	CHECK(next == getpid());
	check_unharmed(&target);
}

static bool is_traced(pid_t pid)
{
	struct procfs_status status;

	CHECK(procfs_status(pid, 0, &status) == 0);
	return status.tracer != 0;
}

/* Makes a userfaultfd in the target and registers its memory: whoever touches it waits for us. */
static int guard_memory(const struct attach_target *target)
{
	struct problem problem = {0};
	struct injection *injection = attach_begin(target->pid);
	int fd;
	int remote;

	CHECK(inject_uffds(injection, 1, &fd, &remote, &problem) == 0);
	(void)inject_end(injection);
	CHECK(uffd_handshake(fd, 0) == 0);
	CHECK(uffd_register(fd, target->shared->address, GUEST_BYTES, false) == 0);
	return fd;
}

static void let_go(int fd, uint64_t address)
{
	struct uffd_message messages[UFFD_BATCH_MAX];
	struct uffd_inbox inbox;
	const uint64_t start_ns = clock_ns();
	uint64_t done;

	/* Interrupted, the thread faults again and again; in between there is no message. */
	while (uffd_read(fd, &inbox, messages, UFFD_BATCH_MAX) <= 0)
		CHECK(clock_ns() - start_ns < 20 * NS_PER_S);
	CHECK(messages[0].address == address);
	CHECK(uffd_zero(fd, address, PAGE_BYTES, &done) == 0);
}

static void await_untraced(pid_t pid)
{
	uint64_t start_ns = clock_ns();

	while (is_traced(pid)) {
		CHECK(clock_ns() - start_ns < 20 * NS_PER_S);
		(void)sched_yield();
	}
}

static void a_call_that_hangs_is_waited_for_and_the_target_put_back_then(void)
{
	struct attach_target target = start_waiting();
	int fd = guard_memory(&target);
	const uint64_t time_into_guest[6] = {CLOCK_MONOTONIC, target.shared->address};
	struct problem problem = {0};
	struct injection *second = NULL;

	struct injection *injection = attach_begin(target.pid);
	long result = inject_call(injection, SYS_clock_gettime, time_into_guest);
	long next = inject_call(injection, SYS_getppid, none);
	(void)inject_end(injection);
	int refused = attach_try(target.pid, &second, &problem);
	bool was_traced = is_traced(target.pid);
	let_go(fd, target.shared->address);
	await_untraced(target.pid);

	CHECK(result == -ETIMEDOUT);
	CHECK(next == -ETIMEDOUT);
	CHECK(refused == -EBUSY);
	CHECK(was_traced);
	CHECK(close(fd) == 0);
	check_unharmed(&target);
}

static void a_target_that_dies_in_a_hanging_call_is_let_go(void)
{
	struct attach_target target = start_waiting();
	int fd = guard_memory(&target);
	const uint64_t time_into_guest[6] = {CLOCK_MONOTONIC, target.shared->address};

	struct injection *injection = attach_begin(target.pid);
	long result = inject_call(injection, SYS_clock_gettime, time_into_guest);
	CHECK(kill(target.pid, SIGKILL) == 0);
	(void)inject_end(injection);

	CHECK(result == -ETIMEDOUT);
	CHECK(WIFSIGNALED(attach_wait(&target)));
	CHECK(close(fd) == 0);
}

/* The parent of a vfork(2) sleeps uninterruptibly until its child execs or ends. */
static void *vfork_main(void *context)
{
	(void)context;
	if (syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) == 0) {
		(void)syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)syscall(SYS_pause);
	}
	return NULL;
}

static void uninterruptible_body(struct attach_shared *shared)
{
	(void)shared;
	(void)vfork_main(NULL);
}

static void mixed_body(struct attach_shared *shared)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, vfork_main, NULL) == 0);
	waiting_body(shared);
}

static void stop_family(struct attach_target *target)
{
	/* The child of the vfork is in the target's group, and so are we not. */
	CHECK(kill(-target->pid, SIGKILL) == 0);
	(void)attach_wait(target);
}

static void grouped_uninterruptible_body(struct attach_shared *shared)
{
	CHECK(setpgid(0, 0) == 0);
	uninterruptible_body(shared);
}

static void grouped_mixed_body(struct attach_shared *shared)
{
	CHECK(setpgid(0, 0) == 0);
	mixed_body(shared);
}

static void a_process_in_uninterruptible_sleep_is_given_up_in_time(void)
{
	struct attach_target target = attach_start(grouped_uninterruptible_body);
	attach_await_state(target.pid, 'D');
	struct injection *injection = NULL;
	struct problem problem = {0};
	uint64_t start_ns = clock_ns();

	int error = attach_try(target.pid, &injection, &problem);

	CHECK(error == -ETIMEDOUT);
	CHECK(strcmp(problem.reason, "no-thread") == 0);
	CHECK(clock_ns() - start_ns < 10 * NS_PER_S);
	CHECK(!is_traced(target.pid));
	stop_family(&target);
}

static void a_thread_in_uninterruptible_sleep_is_passed_over(void)
{
	struct attach_target target = attach_start(grouped_mixed_body);
	attach_await(&target.shared->is_ready);
	attach_await_syscall(target.pid, SYS_read);

	struct injection *injection = attach_begin(target.pid);
	long result = inject_call(injection, SYS_gettid, none);
	(void)inject_end(injection);

	CHECK(result == target.pid);
	stop_family(&target);
}

int main(void)
{
	if (geteuid() != 0) {
		(void)printf("needs root\n");
		return 77;
	}
	attach_start_injector();
	RUN(a_call_that_sleeps_is_interrupted_and_leaves_the_target_as_it_was);
	RUN(a_call_that_hangs_is_waited_for_and_the_target_put_back_then);
	RUN(a_target_that_dies_in_a_hanging_call_is_let_go);
	if (!ATTACH_HAS_OWN_THREAD)
		RUN(a_process_in_uninterruptible_sleep_is_given_up_in_time);
	if (!ATTACH_HAS_OWN_THREAD)
		RUN(a_thread_in_uninterruptible_sleep_is_passed_over);
	return 0;
}
