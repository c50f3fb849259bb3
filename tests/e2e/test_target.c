/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes may be attached, and what is said of those that may not. */
#include "ctl/target.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>

#include "attach_target.h"
#include "ctl/inject.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "io/uffd.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define GUEST_BYTES (8 * MIB)
#define NOBODY	    65534

static const struct target_options usual = {.min_bytes = GUEST_BYTES};

/* ---- targets ---- */

static void wait_here(struct attach_shared *shared)
{
	char byte;

	atomic_store(&shared->is_ready, true);
	(void)!read(shared->descriptors[0], &byte, 1);
}

static void guest_body(struct attach_shared *shared)
{
	(void)attach_guest(shared, GUEST_BYTES);
	wait_here(shared);
}

static void nobody_body(struct attach_shared *shared)
{
	CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	/* A change of user forgets it. */
	CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	guest_body(shared);
}

static void private_body(struct attach_shared *shared)
{
	CHECK(mmap(NULL, 4 * GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0) != MAP_FAILED);
	wait_here(shared);
}

static void hugetlb_body(struct attach_shared *shared)
{
	CHECK(mmap(NULL, 4 * GUEST_BYTES, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1,
		      0) != MAP_FAILED);
	wait_here(shared);
}

static void locked_body(struct attach_shared *shared)
{
	uint8_t *memory = attach_guest(shared, GUEST_BYTES);

	/* The sanitizers make the libc call do nothing. */
	CHECK(syscall(SYS_mlock, memory + MIB, MIB) == 0);
	wait_here(shared);
}

static void exec_body(struct attach_shared *shared)
{
	CHECK(dup2(shared->descriptors[0], 0) == 0);
	(void)execlp("cat", "cat", NULL);
}

static int open_ring(void)
{
	struct io_uring_params params = {0};
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);

	CHECK(ring >= 0);
	return ring;
}

static void pinned_body(struct attach_shared *shared)
{
	struct iovec buffer = {attach_guest(shared, GUEST_BYTES), MIB};

	CHECK(syscall(SYS_io_uring_register, open_ring(), IORING_REGISTER_BUFFERS, &buffer, 1) ==
		0);
	wait_here(shared);
}

static void ring_body(struct attach_shared *shared)
{
	(void)open_ring();
	guest_body(shared);
}

static void direct_body(struct attach_shared *shared)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_DIRECT, 0600);

	/* Some file systems have none: said to the test, which then has nothing to check. */
	shared->error = fd < 0 ? errno : 0;
	guest_body(shared);
}

static void filtered_body(struct attach_shared *shared)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
	guest_body(shared);
}

static struct attach_target start(attach_body *body)
{
	struct attach_target target = attach_start(body);

	attach_await(&target.shared->is_ready);
	attach_await_syscall(target.pid, SYS_read);
	return target;
}

/* ---- refusals ---- */

static void check_refused(
	pid_t pid, const struct target_options *options, int error, const char *reason)
{
	struct problem problem = {0};
	struct target target;
	int got = target_open(pid, options, &target, &problem);

	if (got != error || strcmp(problem.reason, reason) != 0)
		(void)fprintf(stderr, "%d %s: %s\n", got, problem.reason, problem.text);
	CHECK(got == error);
	CHECK(problem.error == error);
	CHECK(strcmp(problem.reason, reason) == 0);
	(void)printf("    %s: %s\n", problem.reason, problem.text);
}

/* Refused, with nothing changed in it. */
static void check_body_refused(attach_body *body, int error, const char *reason)
{
	struct attach_target target = start(body);
	uint32_t descriptors = attach_count(target.pid, "fd");

	check_refused(target.pid, &usual, error, reason);

	CHECK(attach_count(target.pid, "fd") == descriptors);
	CHECK(attach_state(target.pid) == 'S');
	attach_stop(&target);
}

static void nobody_is_there(void)
{
	struct attach_target target = start(guest_body);
	pid_t pid = target.pid;

	CHECK(kill(pid, SIGKILL) == 0);
	attach_await_state(pid, 'Z');
	check_refused(pid, &usual, -ESRCH, "process-gone");
	CHECK(attach_wait(&target) != 0);
	check_refused(pid, &usual, -ESRCH, "process-gone");
	check_refused(0, &usual, -ESRCH, "process-gone");
	check_refused(-1, &usual, -ESRCH, "process-gone");
}

static void it_is_ourselves(void)
{
	check_refused(getpid(), &usual, -EINVAL, "own-process");
}

static void *thread_main(void *context)
{
	_Atomic pid_t *tid = context;

	atomic_store(tid, gettid());
	(void)pause();
	return NULL;
}

static void it_is_a_thread(void)
{
	_Atomic pid_t tid = 0;
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, thread_main, &tid) == 0);
	while (atomic_load(&tid) == 0)
		(void)sched_yield();
	check_refused(tid, &usual, -EINVAL, "not-a-process");
}

static void it_is_a_kernel_thread(void)
{
	struct procfs_status status;

	if (procfs_status(2, 0, &status) < 0 || status.has_memory) {
		(void)printf("    no kernel thread is visible here\n");
		return;
	}
	check_refused(2, &usual, -EINVAL, "kernel-thread");
}

static void its_memory_is_private(void)
{
	check_body_refused(private_body, -ENXIO, "not-shared");
}

static void its_memory_is_too_small(void)
{
	const struct target_options large = {.min_bytes = 4 * GUEST_BYTES};
	struct attach_target target = start(guest_body);

	check_refused(target.pid, &large, -ENXIO, "too-small");
	attach_stop(&target);
}

static void it_has_no_memory_to_speak_of(void)
{
	const struct target_options huge = {.min_bytes = GIB};
	struct attach_target target = attach_start(exec_body);

	attach_await_syscall(target.pid, SYS_read);
	check_refused(target.pid, &huge, -ENXIO, "no-guest-memory");
	attach_stop(&target);
}

static void its_memory_is_hugetlbfs(void)
{
	check_body_refused(hugetlb_body, -EOPNOTSUPP, "hugetlbfs");
}

static void its_memory_is_locked_and_that_is_not_allowed(void)
{
	const struct target_options allowed = {.min_bytes = GUEST_BYTES, .allow_locked = true};
	struct attach_target target = start(locked_body);
	struct target opened;

	check_refused(target.pid, &usual, -EOPNOTSUPP, "locked-memory");
	CHECK(target_open(target.pid, &allowed, &opened, NULL) == 0);
	CHECK(opened.memory.count == 1);
	CHECK(opened.memory.item[0].is_locked);
	CHECK(opened.memory.item[0].end - opened.memory.item[0].start == GUEST_BYTES);
	target_close(&opened);
	attach_stop(&target);
}

static void its_memory_is_pinned(void)
{
	check_body_refused(pinned_body, -EOPNOTSUPP, "pinned-memory");
}

static void vfio_body(struct attach_shared *shared)
{
	CHECK(open("/dev/vfio/7", O_RDWR | O_CLOEXEC) >= 0);
	guest_body(shared);
}

/* A device of that name in a mount namespace of its own: the path is all that is looked at. */
static void run_with_vfio(struct attach_shared *shared)
{
	(void)shared;
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("none", "/dev", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("/dev/vfio", 0700) == 0);
	CHECK(close(open("/dev/vfio/7", O_CREAT | O_RDWR | O_CLOEXEC, 0600)) == 0);
	check_body_refused(vfio_body, -EOPNOTSUPP, "vfio");
}

static void run_apart(attach_body *body)
{
	struct attach_target checker = attach_start(body);

	CHECK(attach_wait(&checker) == 0);
}

static void it_has_a_vfio_device(void)
{
	run_apart(run_with_vfio);
}

static void its_memory_has_a_userfaultfd(void)
{
	struct attach_target target = start(guest_body);
	struct injection *injection;
	int fd;
	int remote;

	CHECK(attach_try(target.pid, &injection, NULL) == 0);
	CHECK(inject_uffds(injection, 1, &fd, &remote, NULL) == 0);
	(void)inject_end(injection);
	CHECK(uffd_handshake(fd, 0) == 0);
	CHECK(uffd_register(fd, target.shared->address + MIB, MIB, false) == 0);
	check_refused(target.pid, &usual, -EBUSY, "userfaultfd-present");
	CHECK(close(fd) == 0);
	attach_stop(&target);
}

static void somebody_traces_it(void)
{
	struct attach_target target = start(guest_body);
	struct injection *injection;

	CHECK(attach_try(target.pid, &injection, NULL) == 0);
	check_refused(target.pid, &usual, -EBUSY, "already-traced");
	(void)inject_end(injection);
	attach_stop(&target);
}

/* ---- rights ---- */

static void drop_capability(unsigned int capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	CHECK(syscall(SYS_capget, &header, data) == 0);
	data[capability / 32].effective &= ~(1u << capability % 32);
	CHECK(syscall(SYS_capset, &header, data) == 0);
}

static void check_no_injection(pid_t pid, const char *reason)
{
	struct problem problem = {0};
	struct injection *injection;

	CHECK(attach_try(pid, &injection, &problem) == -EPERM);
	CHECK(strcmp(problem.reason, reason) == 0);
	CHECK(attach_state(pid) == 'S');
}

static void run_without_ptrace(struct attach_shared *shared)
{
	struct attach_target target = start(nobody_body);

	(void)shared;
	drop_capability(CAP_SYS_PTRACE);
	attach_start_injector();
	check_refused(target.pid, &usual, -EPERM, "capability");
	check_no_injection(target.pid, "capability");
	attach_stop(&target);
}

static void we_lack_the_right_to_trace_it(void)
{
	run_apart(run_without_ptrace);
}

static void run_without_admin(struct attach_shared *shared)
{
	struct attach_target filtered = start(filtered_body);
	struct attach_target plain = start(guest_body);
	struct injection *injection;
	struct target opened;

	(void)shared;
	drop_capability(CAP_SYS_ADMIN);
	attach_start_injector();
	check_refused(filtered.pid, &usual, -EPERM, "seccomp");
	check_no_injection(filtered.pid, "seccomp");
	CHECK(target_open(plain.pid, &usual, &opened, NULL) == 0);
	target_close(&opened);
	CHECK(attach_try(plain.pid, &injection, NULL) == 0);
	(void)inject_end(injection);
	attach_stop(&plain);
	attach_stop(&filtered);
}

static void it_has_a_filter_that_we_may_not_suspend(void)
{
	run_apart(run_without_admin);
}

static void run_under_seccomp(struct attach_shared *shared)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};
	struct attach_target filtered = start(filtered_body);

	(void)shared;
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
	attach_start_injector();
	check_refused(filtered.pid, &usual, -EPERM, "seccomp");
	check_no_injection(filtered.pid, "seccomp");
	attach_stop(&filtered);
}

static void it_has_a_filter_and_so_have_we(void)
{
	run_apart(run_under_seccomp);
}

/* ---- targets that are taken ---- */

static void check_memory_is_right(int fd)
{
	CHECK(fd >= 0);
	for (uint64_t page = 0; page < GUEST_BYTES / PAGE_BYTES; page++) {
		uint64_t word;

		CHECK(pread(fd, &word, sizeof(word), (off_t)(page * PAGE_BYTES)) ==
			(ssize_t)sizeof(word));
		CHECK(word == attach_word(page));
	}
	CHECK(close(fd) == 0);
}

static void a_target_is_described_and_its_memory_opened(void)
{
	struct attach_target target = start(nobody_body);
	struct target opened;
	struct problem problem = {0};

	CHECK(target_open(target.pid, &usual, &opened, &problem) == 0);

	CHECK(opened.pid == target.pid);
	CHECK(opened.uid == NOBODY);
	CHECK(opened.start_time > 0);
	CHECK(opened.memory.count == 1);
	CHECK(opened.memory.item[0].start == target.shared->address);
	CHECK(!opened.memory.item[0].is_registered);
	CHECK(target_is_alive(&opened));
	check_memory_is_right(target_open_memory(&opened, &opened.memory.item[0]));
	attach_stop(&target);
	CHECK(!target_is_alive(&opened));
	target_close(&opened);
}

static void run_without_map_files(struct attach_shared *shared)
{
	struct attach_target target = start(guest_body);
	struct target opened;

	(void)shared;
	drop_capability(CAP_SYS_ADMIN);
	drop_capability(CAP_CHECKPOINT_RESTORE);
	CHECK(target_open(target.pid, &usual, &opened, NULL) == 0);
	check_memory_is_right(target_open_memory(&opened, &opened.memory.item[0]));
	target_close(&opened);
	attach_stop(&target);
}

static void memory_is_opened_without_map_files(void)
{
	run_apart(run_without_map_files);
}

static bool may_do_dma(attach_body *body, bool *ret_is_set_up)
{
	struct attach_target target = start(body);
	struct target opened;
	bool result;

	CHECK(target_open(target.pid, &usual, &opened, NULL) == 0);
	result = target_may_do_dma(&opened);
	*ret_is_set_up = target.shared->error == 0;
	target_close(&opened);
	attach_stop(&target);
	return result;
}

static void dma_is_possible_with_a_ring_or_a_direct_file_only(void)
{
	bool is_set_up;

	CHECK(!may_do_dma(guest_body, &is_set_up));
	CHECK(may_do_dma(ring_body, &is_set_up));
	CHECK(may_do_dma(direct_body, &is_set_up) || !is_set_up);
}

static void family_body(struct attach_shared *shared)
{
	(void)attach_guest(shared, GUEST_BYTES);
	if (fork() == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		atomic_store(&shared->go, true);
		for (;;)
			(void)pause();
	}
	wait_here(shared);
}

static void every_mapper_is_found(void)
{
	struct attach_target target = start(family_body);
	struct attach_target other = start(guest_body);
	struct target opened;
	struct mapper *mappers;
	uint32_t count;
	uint64_t start_ns;
	bool is_target_there = false;

	attach_await(&target.shared->go);
	CHECK(target_open(target.pid, &usual, &opened, NULL) == 0);
	start_ns = clock_ns();
	CHECK(maps_find_mappers(&opened.memory, &mappers, &count) == 0);
	(void)printf("    %llu us for %u processes\n", (clock_ns() - start_ns) / NS_PER_US,
		attach_count(getpid(), "../"));

	CHECK(count == 2);
	for (uint32_t i = 0; i < count; i++) {
		is_target_there |= mappers[i].pid == target.pid;
		CHECK(mappers[i].pid != other.pid);
		CHECK(!mappers[i].all_registered);
		CHECK(mappers[i].unregistered_address == target.shared->address);
		CHECK(strncmp(mappers[i].comm, "test_target", 11) == 0);
	}
	CHECK(is_target_there);
	free(mappers);
	target_close(&opened);
	attach_stop(&target);
	attach_stop(&other);
}

int main(void)
{
	if (geteuid() != 0) {
		(void)printf("needs root\n");
		return 77;
	}
	attach_start_injector();
	RUN(nobody_is_there);
	RUN(it_is_ourselves);
	RUN(it_is_a_thread);
	RUN(it_is_a_kernel_thread);
	RUN(its_memory_is_private);
	if (!ATTACH_HAS_OWN_MEMORY)
		RUN(its_memory_is_too_small);
	RUN(it_has_no_memory_to_speak_of);
	RUN(its_memory_is_hugetlbfs);
	RUN(its_memory_is_locked_and_that_is_not_allowed);
	RUN(its_memory_is_pinned);
	RUN(it_has_a_vfio_device);
	RUN(its_memory_has_a_userfaultfd);
	RUN(somebody_traces_it);
	RUN(we_lack_the_right_to_trace_it);
	RUN(it_has_a_filter_that_we_may_not_suspend);
	RUN(it_has_a_filter_and_so_have_we);
	RUN(a_target_is_described_and_its_memory_opened);
	RUN(memory_is_opened_without_map_files);
	RUN(dma_is_possible_with_a_ring_or_a_direct_file_only);
	RUN(every_mapper_is_found);
	return 0;
}
