/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Set-up when the machine is short of something: the n-th call that gets memory, a descriptor or a
 * thread fails, for each n that there is. Starting the engine, making a VM and adding a process end
 * with an error each time and leave nothing behind, and without the failure they work.
 *
 * The calls are counted and failed by the linker's wrap (see CMakeLists.txt), in what is linked
 * statically. What the C library calls within itself is not counted.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/engine.h"
#include "io/feature.h"
#include "io/uffd.h"
#include "queue/base/err.h"
#include "tests/support/check.h"

/* Passed on, not looked at. */
struct io_uring;
struct io_uring_params;
struct iovec;

#define GUEST_PAGES (4 * CHUNK_PAGES)
#define SHARDS	    2u
/* Far more than there are. */
#define CALLS_MAX 1000u
/* Of /proc/self/task: itself, what every folder has, and a thread of ThreadSanitizer's own. */
#ifdef __SANITIZE_THREAD__
#define TASK_ENTRIES 4u
#else
#define TASK_ENTRIES 3u
#endif

/* Calls to come until the one that fails; 0: none fails. */
static _Atomic uint32_t countdown;
static const char *_Atomic failed_call; /* NULL: none has */

static bool must_fail(const char *call)
{
	uint32_t left = atomic_load(&countdown);

	while (left > 0 && !atomic_compare_exchange_weak(&countdown, &left, left - 1))
		;
	if (left != 1)
		return false;
	atomic_store(&failed_call, call);
	return true;
}

/* NOLINTBEGIN(bugprone-reserved-identifier): the names are the linker's */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __real_memfd_create(const char *name, unsigned int flags);
int __real_eventfd(unsigned int initial, int flags);
int __real_epoll_create1(int flags);
int __real_fcntl(int fd, int command, ...);
int __real_open(const char *path, int flags, ...);
int __real_ftruncate(int fd, off_t size);
int __real_pthread_create(
	pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int __real_io_uring_queue_init_params(
	unsigned int entries, struct io_uring *ring, struct io_uring_params *parameters);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_memfd_create(const char *name, unsigned int flags);
int __wrap_eventfd(unsigned int initial, int flags);
int __wrap_epoll_create1(int flags);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int __wrap_io_uring_queue_init_params(
	unsigned int entries, struct io_uring *ring, struct io_uring_params *parameters);
int __real_io_uring_register_buffers(
	struct io_uring *ring, const struct iovec *buffers, unsigned int count);
int __wrap_io_uring_register_buffers(
	struct io_uring *ring, const struct iovec *buffers, unsigned int count);
int __real_io_uring_register(
	unsigned int fd, unsigned int code, const void *argument, unsigned int count);
int __wrap_io_uring_register(
	unsigned int fd, unsigned int code, const void *argument, unsigned int count);

static int fail(int error)
{
	errno = error;
	return -1;
}

void *__wrap_malloc(size_t size)
{
	return must_fail("malloc") ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return must_fail("calloc") ? NULL : __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return must_fail("aligned_alloc") ? NULL : __real_aligned_alloc(alignment, size);
}

/* NOLINTNEXTLINE(readability-function-size): as the C library has it */
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	if (!must_fail("mmap"))
		return __real_mmap(address, size, protection, flags, fd, offset);
	errno = ENOMEM;
	return MAP_FAILED;
}

int __wrap_memfd_create(const char *name, unsigned int flags)
{
	return must_fail("memfd_create") ? fail(EMFILE) : __real_memfd_create(name, flags);
}

int __wrap_eventfd(unsigned int initial, int flags)
{
	return must_fail("eventfd") ? fail(EMFILE) : __real_eventfd(initial, flags);
}

int __wrap_epoll_create1(int flags)
{
	return must_fail("epoll_create1") ? fail(EMFILE) : __real_epoll_create1(flags);
}

int __wrap_ftruncate(int fd, off_t size)
{
	return must_fail("ftruncate") ? fail(ENOMEM) : __real_ftruncate(fd, size);
}

/* Of the commands used here only those that duplicate can lack something. */
int __wrap_fcntl(int fd, int command, ...)
{
	va_list rest;
	long argument;

	va_start(rest, command);
	argument = va_arg(rest, long);
	va_end(rest);
	if (command == F_DUPFD_CLOEXEC && must_fail("fcntl"))
		return fail(EMFILE);
	return __real_fcntl(fd, command, argument);
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list rest;
	mode_t mode;

	va_start(rest, flags);
	mode = va_arg(rest, mode_t);
	va_end(rest);
	return must_fail("open") ? fail(ENFILE) : __real_open(path, flags, mode);
}

int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
	return must_fail("pthread_create")
		       ? EAGAIN
		       : __real_pthread_create(thread, attributes, run, argument);
}

int __wrap_io_uring_queue_init_params(
	unsigned int entries, struct io_uring *ring, struct io_uring_params *parameters)
{
	return must_fail("io_uring_queue_init_params")
		       ? -ENOMEM
		       : __real_io_uring_queue_init_params(entries, ring, parameters);
}
int __wrap_io_uring_register_buffers(
	struct io_uring *ring, const struct iovec *buffers, unsigned int count)
{
	return must_fail("io_uring_register_buffers")
		       ? -ENOMEM
		       : __real_io_uring_register_buffers(ring, buffers, count);
}

/* Enables the ring. */
int __wrap_io_uring_register(
	unsigned int fd, unsigned int code, const void *argument, unsigned int count)
{
	return must_fail("io_uring_register") ? -ENOMEM
					      : __real_io_uring_register(fd, code, argument, count);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static uint32_t count_entries(const char *folder)
{
	DIR *directory = opendir(folder);
	uint32_t count = 0;

	CHECK(directory != NULL);
	while (readdir(directory))
		count++;
	(void)closedir(directory);
	return count;
}

/* The guest: memory of our own process, and descriptors as injection would make them. */
struct guest {
	int memfd;
	int pidfd;
	uint64_t address;
};

static int add_process(const struct guest *guest, struct vm *vm, uint32_t *ret_process)
{
	int uffds[SHARDS];
	const struct process_spec spec = {
		.pid = getpid(),
		.pidfd = guest->pidfd,
		.address = &guest->address,
		.uffds = uffds,
	};
	const uint32_t armed = atomic_exchange(&countdown, 0);

	for (uint32_t i = 0; i < SHARDS; i++) {
		uffds[i] = uffd_open();
		CHECK(uffds[i] >= 0);
	}
	atomic_store(&countdown, armed);
	return vm_process_add(vm, &spec, ret_process);
}

static int make_vm(const struct guest *guest, struct engine *engine)
{
	const struct region_spec region = {
		.memfd = guest->memfd,
		.size_bytes = GUEST_PAGES * PAGE_BYTES,
	};
	const struct vm_config config = {.regions = &region, .region_count = 1};
	uint32_t process;
	struct vm *vm;
	int error = vm_new(engine, &config, &vm);

	if (error)
		return error;
	error = add_process(guest, vm, &process);
	/* From here on things go; they are not what is tried. */
	atomic_store(&countdown, 0);
	if (!error)
		vm_process_remove(vm, process);
	vm_free(vm);
	return error;
}

/* All of it, the @nth call failing. */
static int set_up(const struct guest *guest, uint32_t nth)
{
	const struct engine_config config = {
		.shard_count = SHARDS,
		.store = {.kind = SWAPFILE_UNNAMED, .path = "/var/tmp", .limit_bytes = 64 << 20},
	};
	struct engine *engine;
	int error;

	atomic_store(&failed_call, NULL);
	atomic_store(&countdown, nth);
	error = engine_start(&config, &engine);
	if (!error) {
		error = make_vm(guest, engine);
		atomic_store(&countdown, 0);
		engine_stop(engine);
	}
	atomic_store(&countdown, 0);
	return error;
}

static void check_nothing_is_left(const char *call, uint32_t nth, uint32_t fds)
{
	const uint32_t left = count_entries("/proc/self/fd");

	if (left != fds)
		fprintf(stderr, "call %u, %s, left %d descriptors\n", nth, call, (int)(left - fds));
	CHECK(left == fds);
	CHECK(count_entries("/proc/self/task") == TASK_ENTRIES);
}

static void try_each(const struct guest *guest)
{
	uint32_t fds;
	uint32_t nth;

	CHECK(set_up(guest, 0) == 0);
	fds = count_entries("/proc/self/fd");
	for (nth = 1; nth < CALLS_MAX; nth++) {
		const int error = set_up(guest, nth);

		const char *call = atomic_load(&failed_call);

		if (!call)
			break;
		check_nothing_is_left(call, nth, fds);
		/* Some files there is a second way for, or life without. */
		if (error >= 0 && strcmp(call, "open") != 0)
			fprintf(stderr, "call %u, %s, failed unnoticed\n", nth, call);
		CHECK(error < 0 || strcmp(call, "open") == 0);
	}
	CHECK(nth > 20);
	CHECK(nth < CALLS_MAX);
	printf("%u calls failed one after the other\n", nth - 1);
}

int main(int argc, char **argv)
{
	struct guest guest = {
		.memfd = memfd_create("guest", MFD_CLOEXEC),
		.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0),
	};
	void *memory;

	for (int i = 1; i < argc; i++)
		feature_disable(feature_by_name(argv[i]));
	CHECK(guest.memfd >= 0 && guest.pidfd >= 0);
	CHECK(ftruncate(guest.memfd, GUEST_PAGES * PAGE_BYTES) == 0);
	memory = mmap(
		NULL, GUEST_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, guest.memfd, 0);
	CHECK(memory != MAP_FAILED);
	guest.address = (uintptr_t)memory;
	try_each(&guest);
	(void)munmap(memory, GUEST_PAGES * PAGE_BYTES);
	(void)close(guest.pidfd);
	(void)close(guest.memfd);
	return 0;
}
