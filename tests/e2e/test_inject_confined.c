/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls injected into processes with few rights: unprivileged, filtered, without
 * descriptors; and into one with a kernel worker inside.
 */
#include "ctl/inject.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>

#include "attach_target.h"
#include "ctl/inject_thread.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "io/uffd.h"
#include "queue/base/bits.h"

#define NOBODY 65534

/* ---- userfaultfds ---- */

static void nobody_body(struct attach_shared *shared)
{
	CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	/* A change of user forgets it. */
	CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	attach_wait_body(shared);
}

static uint32_t lines_of_maps(pid_t pid)
{
	char path[PROCFS_PATH_BYTES];
	char text[65536];
	uint32_t lines = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	CHECK(procfs_read(path, text, sizeof(text)) > 0);
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	return lines;
}

static void check_is_uffd(pid_t pid, int remote)
{
	char path[PROCFS_PATH_BYTES];
	char link[64] = "";

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, remote);
	CHECK(readlink(path, link, sizeof(link) - 1) > 0);
	CHECK(strcmp(link, "anon_inode:[userfaultfd]") == 0);
}

static void check_uffds(attach_body *body)
{
	struct attach_target target = attach_start(body);
	attach_await(&target.shared->is_ready);
	attach_await_syscall(target.pid, SYS_read);
	uint32_t descriptors = attach_count(target.pid, "fd");
	uint32_t mappings = lines_of_maps(target.pid);
	struct problem problem = {0};
	int fds[3];
	int remote[3];

	struct injection *injection = attach_begin(target.pid);
	int error = inject_uffds(injection, 3, fds, remote, &problem);
	(void)printf("    %d %s, stopped %lu us\n", error, problem.text, inject_end(injection));

	CHECK(error == 0);
	CHECK(attach_count(target.pid, "fd") == descriptors + 3);
	CHECK(lines_of_maps(target.pid) == mappings);
	for (int i = 0; i < 3; i++) {
		check_is_uffd(target.pid, remote[i]);
		CHECK(uffd_handshake(fds[i], 0) == 0);
		CHECK(close(fds[i]) == 0);
	}
	injection = attach_begin(target.pid);
	inject_close(injection, remote, 3);
	(void)inject_end(injection);
	CHECK(attach_count(target.pid, "fd") == descriptors);
	attach_stop(&target);
}

static void a_privileged_target_makes_userfaultfds(void)
{
	check_uffds(attach_wait_body);
}

static void an_unprivileged_target_makes_userfaultfds_and_nothing_else_stays(void)
{
	check_uffds(nobody_body);
}

static void crowded_body(struct attach_shared *shared)
{
	const struct rlimit limit = {.rlim_cur = 8, .rlim_max = 8};

	while (dup(0) >= 0 && dup(0) < 6)
		continue;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	attach_wait_body(shared);
}

static void a_target_without_descriptors_is_left_as_it_was(void)
{
	struct attach_target target = attach_start(crowded_body);
	attach_await(&target.shared->is_ready);
	attach_await_syscall(target.pid, SYS_read);
	uint32_t descriptors = attach_count(target.pid, "fd");
	struct problem problem = {0};
	int fds[16];
	int remote[16];

	struct injection *injection = attach_begin(target.pid);
	int error = inject_uffds(injection, 16, fds, remote, &problem);
	(void)inject_end(injection);

	CHECK(error == -EMFILE);
	CHECK(strcmp(problem.reason, "no-descriptors") == 0);
	CHECK(attach_count(target.pid, "fd") == descriptors);
	attach_stop(&target);
}

/* ---- seccomp ---- */

/* Lets read, nanosleep, exit and signal returns through; the rest gets @action. */
static void filter_all_but_sleep(uint32_t action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void killed_body(struct attach_shared *shared)
{
	filter_all_but_sleep(SECCOMP_RET_KILL_PROCESS);
	attach_wait_body(shared);
	(void)syscall(SYS_getppid);
}

static void refused_body(struct attach_shared *shared)
{
	filter_all_but_sleep(SECCOMP_RET_ERRNO | EPERM);
	attach_wait_body(shared);
	shared->result = syscall(SYS_getppid);
	shared->error = errno;
}

static void a_filter_that_kills_sees_nothing_and_is_back_afterwards(void)
{
	struct attach_target target = attach_start(killed_body);
	attach_await_syscall(target.pid, SYS_read);
	struct problem problem = {0};
	int fd;
	int remote;

	struct injection *injection = attach_begin(target.pid);
	CHECK(inject_uffds(injection, 1, &fd, &remote, &problem) == 0);
	(void)inject_end(injection);
	CHECK(close(fd) == 0);
	CHECK(write(target.shared->descriptors[1], "x", 1) == 1);

	int status = attach_wait(&target);
	CHECK(WIFSIGNALED(status));
	CHECK(WTERMSIG(status) == SIGSYS);
}

static void a_filter_that_refuses_sees_nothing_and_is_back_afterwards(void)
{
	struct attach_target target = attach_start(refused_body);
	attach_await_syscall(target.pid, SYS_read);
	struct attach_shared *shared = target.shared;

	attach_inject_getppid(target.pid);
	CHECK(write(shared->descriptors[1], "x", 1) == 1);
	attach_await(&shared->is_done);

	pid_t pid = target.pid;
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(shared->result == -1);
	CHECK(shared->error == EPERM);
}

/* ---- kernel workers ---- */

/* An io_uring worker inside the process, blocked in a read of the pipe. */
static void start_worker(struct attach_shared *shared)
{
	static char byte;
	struct io_uring_params params = {0};
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);
	size_t size = params.sq_off.array + params.sq_entries * sizeof(uint32_t);

	CHECK(ring >= 0);
	uint8_t *rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe = mmap(NULL, 4 * sizeof(*sqe), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
	CHECK(rings != MAP_FAILED && (void *)sqe != MAP_FAILED);
	*sqe = (struct io_uring_sqe){.opcode = IORING_OP_READ,
		.flags = IOSQE_ASYNC,
		.fd = shared->descriptors[0],
		.addr = (uint64_t)&byte,
		.len = 1};
	uint32_t zero = 0;
	uint32_t one = 1;
	memcpy(rings + params.sq_off.array, &zero, sizeof(zero));
	memcpy(rings + params.sq_off.tail, &one, sizeof(one));
	CHECK(syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) == 1);
}

static void worker_body(struct attach_shared *shared)
{
	start_worker(shared);
	atomic_store(&shared->is_ready, true);
	for (;;)
		(void)pause();
}

struct workers {
	pid_t pid;
	uint32_t count;
	pid_t tid;
};

static int visit_worker(void *context, int tid)
{
	struct workers *workers = context;
	struct procfs_stat stat;

	if (procfs_stat(workers->pid, tid, &stat) == 0 && strncmp(stat.comm, "iou-", 4) == 0) {
		workers->count++;
		workers->tid = tid;
	}
	return 0;
}

static void a_kernel_worker_is_never_chosen(void)
{
	struct attach_target target = attach_start(worker_body);
	attach_await(&target.shared->is_ready);
	struct workers workers = {.pid = target.pid};
	char path[PROCFS_PATH_BYTES];
	(void)snprintf(path, sizeof(path), "/proc/%d/task", target.pid);
	/* The kernel makes it when it comes to it: fails by the time limit of the test. */
	while (workers.count == 0)
		CHECK(procfs_each(path, visit_worker, &workers) == 0);

	for (int n = 0; n < 20; n++) {
		struct inject_threads threads;

		CHECK(inject_thread_choose(target.pid, &threads, NULL) == 0);
		for (uint32_t i = 0; i < threads.count; i++)
			CHECK(threads.tid[i] != workers.tid);
		attach_inject_getppid(target.pid);
	}
	attach_stop(&target);
}

int main(void)
{
	if (geteuid() != 0) {
		(void)printf("needs root\n");
		return 77;
	}
	attach_start_injector();
	RUN(a_privileged_target_makes_userfaultfds);
	RUN(an_unprivileged_target_makes_userfaultfds_and_nothing_else_stays);
	RUN(a_target_without_descriptors_is_left_as_it_was);
	RUN(a_filter_that_kills_sees_nothing_and_is_back_afterwards);
	RUN(a_filter_that_refuses_sees_nothing_and_is_back_afterwards);
	RUN(a_kernel_worker_is_never_chosen);
	return 0;
}
