/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters of the worker's threads, in children that install one and make a call. Arguments are
 * such that the kernel refuses what the filter lets through.
 */
#include "io/filter.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queue/base/bits.h"
#include "tests/support/check.h"

/* Above every call of a kernel of ours. */
#define CALLS_MAX 512u
#define X32_BIT	  0x40000000u
/* Of a probed function's return and entry (6.11, 6.18): no filter is asked about these two. */
#define URETPROBE 335u
#define UPROBE	  336u
/* A call that waits although its arguments are wrong. */
#define HANG_S 10u

static const char *const role_names[FILTER_ROLES] = {"shard", "disk", "control"};

typedef int child_body(void);

/* The status of a child with the filter of @role that ran @body. */
static int run(enum filter_mode mode, enum filter_role role, child_body *body)
{
	const struct rlimit no_core = {0, 0};
	int status;
	pid_t pid;

	CHECK(filter_set_mode(mode) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		(void)setrlimit(RLIMIT_CORE, &no_core);
		(void)alarm(HANG_S);
		_exit(filter_install(role) == 0 ? body() : EXIT_FAILURE);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

static bool is_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static bool is_passed(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

/* ---- what is not in the list ---- */

static int body_getppid(void)
{
	return syscall(SYS_getppid) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int body_getppid_is_unknown(void)
{
	return syscall(SYS_getppid) == -1 && errno == ENOSYS ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void a_call_that_no_list_has_gets_what_the_mode_says(void)
{
	for (int role = 0; role < FILTER_ROLES; role++) {
		CHECK(!filter_allows((enum filter_role)role, SYS_getppid));
		CHECK(is_passed(run(FILTER_OFF, (enum filter_role)role, body_getppid)));
		CHECK(is_passed(run(FILTER_LOG, (enum filter_role)role, body_getppid)));
		CHECK(is_passed(run(FILTER_DENY, (enum filter_role)role, body_getppid_is_unknown)));
		CHECK(is_killed(run(FILTER_KILL, (enum filter_role)role, body_getppid)));
	}
}

static int body_x32(void)
{
	(void)syscall(X32_BIT | SYS_getpid);
	return EXIT_SUCCESS;
}

/* getpid of 32 bits has the number that writev has in 64. */
static int body_32_bits(void)
{
	long result = 20;

	__asm__ volatile("int $0x80" : "+a"(result) : : "r8", "r9", "r10", "r11", "memory");
	return EXIT_SUCCESS;
}

static void calls_of_another_width_are_in_no_list(void)
{
	for (int role = 0; role < FILTER_ROLES; role++) {
		CHECK(is_killed(run(FILTER_KILL, (enum filter_role)role, body_x32)));
		/* A kernel without them makes it a fault. */
		CHECK(WIFSIGNALED(run(FILTER_KILL, (enum filter_role)role, body_32_bits)));
	}
}

/* ---- each call ---- */

static uint32_t tried;

static int body_tried(void)
{
	const bool has_protection = tried == SYS_mmap || tried == SYS_mprotect;

	(void)syscall(tried, -1L, -1L, has_protection ? 0L : -1L, -1L, -1L, -1L);
	return EXIT_SUCCESS;
}

static void each_call_is_let_through_or_not_as_its_role_says(void)
{
	for (int role = 0; role < FILTER_ROLES; role++) {
		uint32_t allowed = 0;

		for (tried = 0; tried < CALLS_MAX; tried++) {
			const bool is_allowed = filter_allows((enum filter_role)role, tried);
			int status;

			if (tried == URETPROBE || tried == UPROBE)
				continue;
			status = run(FILTER_KILL, (enum filter_role)role, body_tried);
			allowed += is_allowed;
			if (is_killed(status) == is_allowed)
				(void)printf("    %s: call %u\n", role_names[role], tried);
			CHECK(is_killed(status) != is_allowed);
			CHECK(!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM);
		}
		(void)printf("    %s: %u calls\n", role_names[role], allowed);
	}
}

static void no_thread_of_the_data_path_may_open_connect_or_execute(void)
{
	static const uint32_t calls[] = {SYS_open, SYS_openat, SYS_openat2, SYS_socket, SYS_connect,
		SYS_execve, SYS_execveat, SYS_clone, SYS_clone3, SYS_fork, SYS_vfork, SYS_ptrace,
		SYS_process_vm_writev, SYS_kill, SYS_io_uring_setup, SYS_io_uring_register,
		SYS_memfd_create, SYS_mount, SYS_bpf};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		CHECK(!filter_allows(FILTER_SHARD, calls[i]));
		CHECK(!filter_allows(FILTER_DISK, calls[i]));
	}
	CHECK(!filter_allows(FILTER_CONTROL, SYS_ptrace));
	CHECK(!filter_allows(FILTER_CONTROL, SYS_process_vm_writev));
	CHECK(!filter_allows(FILTER_CONTROL, SYS_mount));
	CHECK(!filter_allows(FILTER_CONTROL, SYS_io_uring_setup));
}

/* ---- memory that can be executed ---- */

static int body_maps_to_execute(void)
{
	void *memory =
		mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return EXIT_FAILURE;
	if (mmap(NULL, PAGE_BYTES, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
			MAP_FAILED ||
		errno != ENOSYS)
		return EXIT_FAILURE;
	/* The list of the disk's threads has no mprotect at all. */
	return mprotect(memory, PAGE_BYTES, PROT_READ | PROT_EXEC) < 0 && errno == ENOSYS
		       ? EXIT_SUCCESS
		       : EXIT_FAILURE;
}

static void no_thread_of_the_data_path_gets_memory_that_it_can_execute(void)
{
	CHECK(is_passed(run(FILTER_DENY, FILTER_SHARD, body_maps_to_execute)));
	CHECK(is_passed(run(FILTER_DENY, FILTER_DISK, body_maps_to_execute)));
}

/* ---- names ---- */

static void each_mode_has_a_name(void)
{
	for (int mode = 0; mode < FILTER_MODES; mode++)
		CHECK(filter_mode_by_name(filter_mode_name((enum filter_mode)mode)) ==
			(enum filter_mode)mode);
	CHECK(filter_mode_by_name("on") == FILTER_MODES);
}

int main(void)
{
	RUN(each_mode_has_a_name);
	RUN(no_thread_of_the_data_path_may_open_connect_or_execute);
	if (filter_set_mode(FILTER_KILL) < 0) {
		(void)printf("a sanitizer's build, or a kernel without filters\n");
		return 77;
	}
	RUN(a_call_that_no_list_has_gets_what_the_mode_says);
	RUN(calls_of_another_width_are_in_no_list);
	RUN(each_call_is_let_through_or_not_as_its_role_says);
	RUN(no_thread_of_the_data_path_gets_memory_that_it_can_execute);
	return 0;
}
