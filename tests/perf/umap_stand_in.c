/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for LLNL umap in tests: its entry points, as its header has them, over mmap(2). It
 * insists on what umap does, and ends the process otherwise, as umap does. STAND_IN_LACKS_UMAP:
 * without umap(). STAND_IN_ENDS: umap() ends the process at each call.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int uunmap(void *address, size_t size_bytes);

int uunmap(void *address, size_t size_bytes)
{
	return munmap(address, size_bytes);
}

#ifndef STAND_IN_LACKS_UMAP
#ifdef STAND_IN_ENDS
#define ENDS 1
#else
#define ENDS 0
#endif

void *umap(void *address, size_t size_bytes, int protection, int flags, int fd, off_t offset);

void *umap(void *address, size_t size_bytes, int protection, int flags, int fd, off_t offset)
{
	const char *page_bytes = getenv("UMAP_PAGESIZE");

	if (ENDS || flags != MAP_PRIVATE || size_bytes % 4096 != 0 || !page_bytes ||
		strcmp(page_bytes, "4096") != 0)
		_Exit(70);
	return mmap(address, size_bytes, protection, flags, fd, offset);
}
#endif
