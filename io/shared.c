/* SPDX-License-Identifier: Apache-2.0 */
#include "io/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

static uint64_t whole_pages(uint64_t size_bytes)
{
	return divide_up(size_bytes, PAGE_BYTES) * PAGE_BYTES;
}

/* @fd is taken. */
static int map(int fd, uint64_t size, struct shared *ret_shared)
{
	CLEANUP_FD int owned = fd;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return -errno;
	/* A huge folio would make a sparse table dense; kernels without huge pages answer EINVAL.
	 */
	(void)madvise(memory, size, MADV_NOHUGEPAGE);
	*ret_shared = (struct shared){
		.memory = memory,
		.size_bytes = size,
		.fd = take_fd(&owned),
	};
	return 0;
}

int shared_open(const char *name, uint64_t size_bytes, struct shared *ret_shared)
{
	const uint64_t size = whole_pages(size_bytes);
	CLEANUP_FD int fd = -1;
	int result;

	ASSERT(size > 0);
	ASSERT(size >= size_bytes);
	fd = errno_of(memfd_create(name, MFD_CLOEXEC));
	if (fd < 0)
		return fd;
	result = errno_of(ftruncate(fd, (off_t)size));
	if (result < 0)
		return result;
	return map(take_fd(&fd), size, ret_shared);
}

int shared_adopt(int fd, uint64_t size_bytes, struct shared *ret_shared)
{
	CLEANUP_FD int copy = errno_of(fcntl(fd, F_DUPFD_CLOEXEC, 3));
	struct stat status;

	if (copy < 0)
		return copy;
	if (fstat(copy, &status) < 0)
		return -errno;
	if ((uint64_t)status.st_size != whole_pages(size_bytes))
		return -EINVAL;
	return map(take_fd(&copy), (uint64_t)status.st_size, ret_shared);
}

int shared_next_data(
	const struct shared *shared, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
	const off_t start = lseek(shared->fd, (off_t)offset, SEEK_DATA);
	off_t end;

	if (start < 0)
		return -errno;
	end = lseek(shared->fd, start, SEEK_HOLE);
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
	(void)munmap(shared->memory, shared->size_bytes);
	close_fd(shared->fd);
	*shared = (struct shared){.fd = -1};
}
