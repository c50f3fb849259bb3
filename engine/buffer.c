/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/buffer.h"

#include <string.h>
#include <sys/mman.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"

uint8_t *buffer_map(uint64_t size_bytes)
{
	/* @unfiltered mmap */
	uint8_t *memory = mmap(NULL, size_bytes + CHUNK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *aligned;

	ASSERT(size_bytes % CHUNK_BYTES == 0);
	if (memory == MAP_FAILED)
		return NULL;
	aligned = memory + (CHUNK_BYTES - (uintptr_t)memory % CHUNK_BYTES) % CHUNK_BYTES;
	if (aligned > memory)
		(void)munmap(memory, (size_t)(aligned - memory)); /* @unfiltered munmap */
	/* @unfiltered munmap */
	(void)munmap(aligned + size_bytes, (size_t)(memory + CHUNK_BYTES - aligned));
	(void)madvise(aligned, size_bytes, MADV_HUGEPAGE); /* @unfiltered madvise */
	/* Refused without the right: touched at least, so that no disk operation waits for it. */
	if (mlock(aligned, size_bytes) < 0) /* @unfiltered mlock */
		memset(aligned, 0, size_bytes);
	return aligned;
}

void buffer_unmap(uint8_t *buffer, uint64_t size_bytes)
{
	if (buffer)
		(void)munmap(buffer, size_bytes); /* @control munmap */
}
