/* SPDX-License-Identifier: Apache-2.0 */
#include "attach_target.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "ctl/inject.h"
#include "ctl/injector.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "ctl/target.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define PATIENCE_NS (20 * NS_PER_S)

#ifdef __SANITIZE_THREAD__
/* Targets that are forked while a tracer lives start threads of their own. */
const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}
#endif

/* Between two looks at something that has no event to wait for. */
static void look_again(uint64_t start_ns, const char *what)
{
	const struct timespec pause = {.tv_nsec = (long)NS_PER_MS};

	if (clock_ns() - start_ns > PATIENCE_NS) {
		(void)fprintf(stderr, "waited too long for %s\n", what);
		exit(1);
	}
	(void)nanosleep(&pause, NULL);
}

struct attach_target attach_prepare(void)
{
	struct attach_target target = {.pid = -1};

	target.shared = mmap(NULL, sizeof(*target.shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(target.shared != MAP_FAILED);
	CHECK(pipe(target.shared->descriptors) == 0);
	(void)fflush(NULL);
	return target;
}

struct attach_target attach_start(attach_body *body)
{
	struct attach_target target = attach_prepare();
	pid_t parent = getpid();

	target.pid = fork();
	CHECK(target.pid >= 0);
	if (target.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			body(target.shared);
		(void)fflush(NULL);
		_exit(0);
	}
	return target;
}

static void release(struct attach_target *target)
{
	(void)close(target->shared->descriptors[0]);
	(void)close(target->shared->descriptors[1]);
	(void)munmap(target->shared, sizeof(*target->shared));
	target->pid = -1;
}

void attach_stop(struct attach_target *target)
{
	CHECK(kill(target->pid, SIGKILL) == 0);
	CHECK(waitpid(target->pid, NULL, 0) == target->pid);
	release(target);
}

int attach_wait(struct attach_target *target)
{
	uint64_t start_ns = clock_ns();
	int status;
	pid_t waited;

	while ((waited = waitpid(target->pid, &status, WNOHANG)) == 0)
		look_again(start_ns, "the target to end");
	CHECK(waited == target->pid);
	release(target);
	return status;
}

void attach_await(const _Atomic bool *flag)
{
	uint64_t start_ns = clock_ns();

	while (!atomic_load(flag))
		look_again(start_ns, "a flag");
}

void attach_await_syscall(pid_t pid, long number)
{
	uint64_t start_ns = clock_ns();
	char path[PROCFS_PATH_BYTES];
	char text[256];

	(void)snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	for (;;) {
		CHECK(procfs_read(path, text, sizeof(text)) > 0);
		if (strncmp(text, "running", 7) != 0 && strtol(text, NULL, 10) == number)
			return;
		look_again(start_ns, "a system call of the target");
	}
}

char attach_state(pid_t pid)
{
	struct procfs_stat stat;

	CHECK(procfs_stat(pid, 0, &stat) == 0);
	return stat.state;
}

void attach_await_state(pid_t pid, char state)
{
	uint64_t start_ns = clock_ns();

	while (attach_state(pid) != state)
		look_again(start_ns, "a state of the target");
}

static int visit_count(void *context, int number)
{
	uint32_t *count = context;

	(void)number;
	*count += 1;
	return 0;
}

uint32_t attach_count(pid_t pid, const char *directory)
{
	char path[PROCFS_PATH_BYTES];
	uint32_t count = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, directory);
	CHECK(procfs_each(path, visit_count, &count) == 0);
	return count;
}

uint64_t attach_blocked(pid_t pid)
{
	char path[PROCFS_PATH_BYTES];
	char text[4096];
	const char *line;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	CHECK(procfs_read(path, text, sizeof(text)) > 0);
	line = strstr(text, "SigBlk:");
	CHECK(line);
	return strtoull(line + strlen("SigBlk:"), NULL, 16);
}

void attach_start_injector(void)
{
	struct problem problem = {0};

	if (injector_start(&problem) < 0 || injector_await(&problem) < 0)
		(void)fprintf(stderr, "%s\n", problem.text);
	CHECK(injector_is_alive());
}

static struct target name_now(pid_t pid)
{
	const struct target target = {
		.pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0), .uffd = -1};

	CHECK(target.pidfd >= 0);
	return target;
}

int attach_try(pid_t pid, struct injection **ret_injection, struct problem *problem)
{
	struct target target = name_now(pid);
	const int error = inject_begin(&target, ret_injection, problem);

	target_close(&target);
	return error;
}

int attach_zap(pid_t pid, uint64_t address, uint64_t size_bytes, struct inject_zapped *ret_zapped)
{
	struct target target = name_now(pid);
	const int error = inject_zap(&target, address, size_bytes, ret_zapped, NULL);

	target_close(&target);
	return error;
}

struct injection *attach_begin(pid_t pid)
{
	struct problem problem = {0};
	struct injection *injection = NULL;
	int error = attach_try(pid, &injection, &problem);

	if (error)
		(void)fprintf(
			stderr, "attach_try: %d %s: %s\n", error, problem.reason, problem.text);
	CHECK(error == 0);
	return injection;
}

void attach_inject_getppid(pid_t pid)
{
	const uint64_t none[6] = {0};
	struct injection *injection = attach_begin(pid);

	CHECK(inject_call(injection, SYS_getppid, none) == getpid());
	(void)inject_end(injection);
}

void attach_wait_body(struct attach_shared *shared)
{
	char byte;

	atomic_store(&shared->is_ready, true);
	shared->result = read(shared->descriptors[0], &byte, 1);
	atomic_store(&shared->is_done, true);
}

uint64_t attach_word(uint64_t page)
{
	return (page + 1) * 0x9e3779b97f4a7c15ull;
}

uint8_t *attach_guest(struct attach_shared *shared, uint64_t size_bytes)
{
	uint8_t *memory;
	int memfd = memfd_create("attach-guest", MFD_CLOEXEC);

	CHECK(memfd >= 0 && ftruncate(memfd, (off_t)size_bytes) == 0);
	memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	CHECK(memory != MAP_FAILED);
	for (uint64_t page = 0; page < size_bytes / PAGE_BYTES; page++) {
		uint64_t word = attach_word(page);

		memcpy(memory + page * PAGE_BYTES, &word, sizeof(word));
	}
	shared->address = (uint64_t)memory;
	shared->memfd = memfd;
	return memory;
}

bool attach_guest_is_right(const uint8_t *memory, uint64_t size_bytes)
{
	for (uint64_t page = 0; page < size_bytes / PAGE_BYTES; page++) {
		uint64_t word;

		memcpy(&word, memory + page * PAGE_BYTES, sizeof(word));
		if (word != attach_word(page))
			return false;
	}
	return true;
}

uint64_t attach_present(pid_t pid, uint64_t address, uint64_t size_bytes)
{
	char path[PROCFS_PATH_BYTES];
	uint64_t present = 0;
	CLEANUP_FD int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	for (uint64_t page = 0; page < size_bytes / PAGE_BYTES; page++) {
		uint64_t entry;
		off_t at = (off_t)((address / PAGE_BYTES + page) * sizeof(entry));

		CHECK(pread(fd, &entry, sizeof(entry), at) == (ssize_t)sizeof(entry));
		present += entry >> 63;
	}
	return present;
}
