/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/stash.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/guest.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

int stash_open(uint64_t size_bytes, struct stash *ret_stash)
{
	void *memory =
		mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int error;

	if (memory == MAP_FAILED)
		return -errno;
	error = errno_of(madvise(memory, size_bytes, MADV_POPULATE_WRITE));
	if (error < 0) {
		(void)munmap(memory, size_bytes);
		return error;
	}
	*ret_stash = (struct stash){.memory = memory, .size_bytes = size_bytes};
	return 0;
}

void stash_close(struct stash *stash)
{
	if (!stash->memory)
		return;
	(void)munmap(stash->memory, stash->size_bytes);
	stash->memory = NULL;
}

int stash_populate(const struct stash *stash)
{
	return errno_of(madvise(stash->memory, stash->size_bytes, MADV_POPULATE_READ));
}

/* Saved before it is punched: a handler that is late with a second fault of a page copies what is
 * right. */
static int take_run(const struct stash *stash, int memfd, uint64_t start, uint64_t size_bytes)
{
	const ssize_t got = pread(memfd, stash->memory + start, size_bytes, (off_t)start);

	if (got < 0)
		return -errno;
	if ((uint64_t)got != size_bytes)
		return -EIO;
	return errno_of(fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start,
		(off_t)size_bytes));
}

int stash_take(const struct stash *stash, int memfd, uint64_t *ret_bytes)
{
	uint64_t taken_bytes = 0;
	uint64_t start;
	uint64_t end;
	int error;

	ASSERT(stash->memory);
	for (uint64_t at = 0; at < stash->size_bytes; at = end) {
		error = guest_next_data(memfd, at, stash->size_bytes, &start, &end);
		if (error == -ENXIO)
			break;
		if (error < 0)
			return error;
		end = MIN(end, start + CHUNK_BYTES);
		error = take_run(stash, memfd, start, end - start);
		if (error < 0)
			return error;
		taken_bytes += end - start;
	}
	*ret_bytes = taken_bytes;
	return 0;
}
