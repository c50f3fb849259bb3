/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target executes another program: its pidfd stays valid, and so does the number of its main
 * thread. Nothing is run in the next program, which has memory and descriptors of its own where
 * those of the one before were.
 */
#include "ctl/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach_target.h"
#include "ctl/problem.h"
#include "ctl/target.h"
#include "io/uffd.h"
#include "queue/base/bits.h"

#define GUEST_BYTES (2 * MIB)
/* Where no program has anything of its own, sanitizers included. */
#define ADDRESS ((void *)0x200000000000)

static const uint64_t none[6];
/* A byte comes out of it when the next program is there. */
static int arrived[2];

static void *map(int flags, int memfd)
{
	void *memory = mmap(ADDRESS, GUEST_BYTES, PROT_READ | PROT_WRITE,
		flags | MAP_FIXED_NOREPLACE, memfd, 0);

	CHECK(memory == ADDRESS);
	return memory;
}

/* ---- the next program ---- */

/* Whatever descriptors the one before had, they are ours now. */
static void take_numbers(void)
{
	while (dup(STDERR_FILENO) < 100)
		continue;
}

static bool are_numbers_open(void)
{
	for (int fd = 3; fd <= 100; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			return false;
	return true;
}

static int next_main(int wait_fd, int arrived_fd)
{
	uint64_t *memory = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char byte = 'x';

	take_numbers();
	for (uint64_t i = 0; i < GUEST_BYTES / sizeof(*memory); i++)
		memory[i] = attach_word(i);
	CHECK(write(arrived_fd, &byte, 1) == 1);
	CHECK(read(wait_fd, &byte, 1) == 1);
	for (uint64_t i = 0; i < GUEST_BYTES / sizeof(*memory); i++)
		CHECK(memory[i] == attach_word(i));
	CHECK(are_numbers_open());
	return 0;
}

static void execute_next(const struct attach_shared *shared)
{
	char wait_fd[16];
	char arrived_fd[16];

	(void)snprintf(wait_fd, sizeof(wait_fd), "%d", shared->descriptors[0]);
	(void)snprintf(arrived_fd, sizeof(arrived_fd), "%d", arrived[1]);
	(void)execl("/proc/self/exe", "next", wait_fd, arrived_fd, NULL);
	CHECK(false);
}

/* ---- the one before ---- */

static void map_guest(void)
{
	const int memfd = memfd_create("guest", MFD_CLOEXEC);

	CHECK(memfd >= 0 && ftruncate(memfd, GUEST_BYTES) == 0);
	(void)memset(map(MAP_SHARED, memfd), 1, GUEST_BYTES);
}

static void executing_body(struct attach_shared *shared)
{
	map_guest();
	attach_wait_body(shared);
	execute_next(shared);
}

static void *execute_main(void *argument)
{
	struct attach_shared *shared = argument;
	struct epoll_event event = {.events = EPOLLIN};
	const int epoll = epoll_create1(EPOLL_CLOEXEC);

	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, shared->descriptors[0], &event) == 0);
	atomic_store(&shared->is_ready, true);
	/* Worse to be stopped in than the main thread's read(2). */
	CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
	CHECK(read(shared->descriptors[0], &event, 1) == 1);
	execute_next(shared);
	return NULL;
}

static void thread_executes_body(struct attach_shared *shared)
{
	char byte;
	int never[2];
	pthread_t thread;

	map_guest();
	CHECK(pipe(never) == 0);
	CHECK(pthread_create(&thread, NULL, execute_main, shared) == 0);
	(void)!read(never[0], &byte, 1);
}

/* ---- the tests ---- */

/* With a userfaultfd of its own, as a member of a VM. */
static struct target attach_to(const struct attach_target *target, int *ret_remote)
{
	struct target named = {
		.pid = target->pid, .pidfd = (int)syscall(SYS_pidfd_open, target->pid, 0)};
	struct injection *injection = attach_begin(target->pid);

	CHECK(named.pidfd >= 0);
	CHECK(inject_uffds(injection, 1, &named.uffd, ret_remote, NULL) == 0);
	(void)inject_end(injection);
	CHECK(uffd_handshake(named.uffd, 0) == 0);
	CHECK(target_is_alive(&named));
	return named;
}

static void let_execute(const struct attach_target *target)
{
	char byte;

	CHECK(write(target->shared->descriptors[1], "x", 1) == 1);
	CHECK(read(arrived[0], &byte, 1) == 1);
}

static void check_unharmed(struct attach_target *target)
{
	attach_inject_getppid(target->pid);
	CHECK(write(target->shared->descriptors[1], "x", 1) == 1);
	CHECK(attach_wait(target) == 0);
}

static struct attach_target start_executing(void)
{
	struct attach_target target = attach_start(executing_body);

	attach_await_syscall(target.pid, SYS_read);
	return target;
}

static void no_memory_of_the_next_program_is_zapped(void)
{
	struct attach_target target = start_executing();
	int remote;
	struct target named = attach_to(&target, &remote);
	struct inject_zapped zapped;
	struct problem problem = {0};
	CHECK(inject_zap(&named, (uint64_t)ADDRESS, GUEST_BYTES, &zapped, &problem) == 0);
	CHECK(zapped.result == 0);

	let_execute(&target);
	const int error = inject_zap(&named, (uint64_t)ADDRESS, GUEST_BYTES, &zapped, &problem);

	CHECK(error == -ESRCH);
	CHECK(strcmp(problem.reason, "process-gone") == 0);
	CHECK(!target_is_alive(&named));
	target_close(&named);
	check_unharmed(&target);
}

static void no_descriptor_of_the_next_program_is_closed(void)
{
	struct attach_target target = start_executing();
	int remote;
	struct target named = attach_to(&target, &remote);
	struct injection *injection = NULL;
	struct problem problem = {0};

	let_execute(&target);
	const int error = inject_begin(&named, &injection, &problem);
	if (error == 0)
		inject_close(injection, &remote, 1);
	(void)inject_end(injection);

	CHECK(error == -ESRCH);
	CHECK(strcmp(problem.reason, "process-gone") == 0);
	target_close(&named);
	check_unharmed(&target);
}

static void an_injection_ends_when_another_thread_executes_a_program(void)
{
	struct attach_target target = attach_start(thread_executes_body);
	attach_await(&target.shared->is_ready);
	attach_await_syscall(target.pid, SYS_read);

	struct injection *injection = attach_begin(target.pid);
	CHECK(inject_call(injection, SYS_gettid, none) == target.pid);
	let_execute(&target);
	const long result = inject_call(injection, SYS_getppid, none);
	(void)inject_end(injection);

	CHECK(result == -ESRCH);
	check_unharmed(&target);
}

int main(int argc, char **argv)
{
	if (argc == 3)
		return next_main(atoi(argv[1]), atoi(argv[2]));
	if (geteuid() != 0 || ATTACH_HAS_OWN_THREAD) {
		(void)printf("needs root, and no ThreadSanitizer\n");
		return 77;
	}
	CHECK(pipe(arrived) == 0);
	attach_start_injector();
	RUN(no_memory_of_the_next_program_is_zapped);
	RUN(no_descriptor_of_the_next_program_is_closed);
	RUN(an_injection_ends_when_another_thread_executes_a_program);
	return 0;
}
