/* SPDX-License-Identifier: Apache-2.0 */
#include "io/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Of this process, set before its threads are. */
static struct {
	int folder;
	uint64_t limit_bytes;
	_Atomic uint64_t planned_bytes; /* of all tables that lie there */
} home = {.folder = -1};

void shared_set_home(int folder, uint64_t limit_bytes)
{
	home.folder = folder;
	home.limit_bytes = limit_bytes;
}

static uint64_t whole_pages(uint64_t size_bytes)
{
	return divide_up(size_bytes, PAGE_BYTES) * PAGE_BYTES;
}

/* @fd is taken. */
static int map(int fd, uint64_t size, struct shared *ret_shared)
{
	CLEANUP_FD int owned = fd;
	/* @control mmap */
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return -errno;
	/* A huge folio would make a sparse table dense; kernels without huge pages answer EINVAL.
	 */
	(void)madvise(memory, size, MADV_NOHUGEPAGE); /* @control madvise */
	*ret_shared = (struct shared){
		.memory = memory,
		.size_bytes = size,
		.fd = take_fd(&owned),
	};
	return 0;
}

static bool is_in_home(int fd)
{
	struct stat table;
	struct stat folder;

	/* @control newfstatat fstat */
	return home.folder >= 0 && fstat(fd, &table) == 0 && fstat(home.folder, &folder) == 0 &&
	       table.st_dev == folder.st_dev;
}

/* A nameless file of the home, or -errno: there is none, or no room is left to be planned. */
static int open_in_home(uint64_t size)
{
	int fd;

	if (home.folder < 0)
		return -ENOENT;
	if (atomic_fetch_add(&home.planned_bytes, size) + size > home.limit_bytes) {
		atomic_fetch_sub(&home.planned_bytes, size);
		return -ENOSPC;
	}
	/* @control openat */
	fd = errno_of(openat(home.folder, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
	if (fd < 0)
		atomic_fetch_sub(&home.planned_bytes, size);
	return fd;
}

/* @fd is taken. */
static int size_and_map(int fd, uint64_t size, struct shared *ret_shared)
{
	CLEANUP_FD int owned = fd;
	int result;

	if (fd < 0)
		return fd;
	result = errno_of(ftruncate(fd, (off_t)size)); /* @control ftruncate */
	return result < 0 ? result : map(take_fd(&owned), size, ret_shared);
}

int shared_open_secret(const char *name, uint64_t size_bytes, struct shared *ret_shared)
{
	const uint64_t size = whole_pages(size_bytes);

	ASSERT(size > 0);
	ASSERT(size >= size_bytes);
	/* @control memfd_create */
	return size_and_map(errno_of(memfd_create(name, MFD_CLOEXEC)), size, ret_shared);
}

int shared_open(const char *name, uint64_t size_bytes, struct shared *ret_shared)
{
	const uint64_t size = whole_pages(size_bytes);
	const int fd = open_in_home(size);
	int result;

	if (fd < 0)
		return shared_open_secret(name, size_bytes, ret_shared);
	result = size_and_map(fd, size, ret_shared);
	if (result < 0)
		atomic_fetch_sub(&home.planned_bytes, size);
	return result;
}

int shared_adopt(int fd, uint64_t size_bytes, struct shared *ret_shared)
{
	CLEANUP_FD int copy = errno_of(fcntl(fd, F_DUPFD_CLOEXEC, 3)); /* @control fcntl */
	struct stat status;

	if (copy < 0)
		return copy;
	if (fstat(copy, &status) < 0) /* @control newfstatat fstat */
		return -errno;
	if ((uint64_t)status.st_size != whole_pages(size_bytes))
		return -EINVAL;
	if (is_in_home(copy))
		atomic_fetch_add(&home.planned_bytes, (uint64_t)status.st_size);
	return map(take_fd(&copy), (uint64_t)status.st_size, ret_shared);
}

int shared_next_data(
	const struct shared *shared, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
	const off_t start = lseek(shared->fd, (off_t)offset, SEEK_DATA); /* @control lseek */
	off_t end;

	if (start < 0)
		return -errno;
	end = lseek(shared->fd, start, SEEK_HOLE); /* @control lseek */
	if (end < 0)
		return -errno;
	ASSERT(end > start);
	*ret_start = (uint64_t)start;
	*ret_end = (uint64_t)end;
	return 0;
}

void shared_close(struct shared *shared)
{
	ASSERT(shared);
	if (!shared->memory)
		return;
	ASSERT(shared->size_bytes > 0);
	if (is_in_home(shared->fd))
		atomic_fetch_sub(&home.planned_bytes, shared->size_bytes);
	(void)munmap(shared->memory, shared->size_bytes); /* @control munmap */
	close_fd(shared->fd);				  /* @control close */
	*shared = (struct shared){.fd = -1};
}
