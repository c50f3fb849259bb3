/* SPDX-License-Identifier: Apache-2.0 */
#include "io/shared.h"

#include <stddef.h>
#include <sys/mman.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

int shared_open(const char *name, uint64_t size_bytes, struct shared *ret_shared)
{
	const uint64_t size = divide_up(size_bytes, PAGE_BYTES) * PAGE_BYTES;
	CLEANUP_FD int fd = -1;
	void *memory;
	int result;

	ASSERT(size > 0);
	ASSERT(size >= size_bytes);
	fd = errno_of(memfd_create(name, MFD_CLOEXEC));
	if (fd < 0)
		return fd;
	result = errno_of(ftruncate(fd, (off_t)size));
	if (result < 0)
		return result;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	/* A huge folio would make a sparse table dense; kernels without huge pages answer EINVAL.
	 */
	(void)madvise(memory, size, MADV_NOHUGEPAGE);
	*ret_shared = (struct shared){
		.memory = memory,
		.size_bytes = size,
		.fd = take_fd(&fd),
	};
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
