/* SPDX-License-Identifier: Apache-2.0 */
#include "io/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/feature.h"
#include "io/pagemap_compat.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Ranges and entries fetched from the kernel in one call; both on the stack. */
#define SCAN_REGIONS	64
#define PAGEMAP_ENTRIES 512u

/* Bytes st_blocks counts in, whatever the file system's block size. */
#define STAT_BLOCK_BYTES 512u

/* Bit 63 of a pagemap entry: the page is present. */
#define PAGEMAP_PRESENT ((uint64_t)1 << 63)

static bool is_page_aligned(uint64_t value)
{
	return value % PAGE_BYTES == 0;
}

/*
 * Mapped without access first: under mlockall(MCL_FUTURE) a mapping with access would be filled on
 * the spot, which would fill every hole of the guest.
 */
int guest_alias_map(int memfd, uint64_t offset, uint64_t size_bytes, uint8_t **ret_alias)
{
	void *alias;

	ASSERT(size_bytes > 0);
	ASSERT(is_page_aligned(offset) && is_page_aligned(size_bytes));
	/* @control mmap */
	alias = mmap(NULL, size_bytes, PROT_NONE, MAP_SHARED, memfd, (off_t)offset);
	if (alias == MAP_FAILED)
		return -errno;
	(void)munlock(alias, size_bytes); /* @control munlock */
	/* Kernels without huge pages answer EINVAL; a child must not map guest memory unattached.
	 */
	(void)madvise(alias, size_bytes, MADV_NOHUGEPAGE);	       /* @control madvise */
	(void)madvise(alias, size_bytes, MADV_DONTFORK);	       /* @control madvise */
	if (mprotect(alias, size_bytes, PROT_READ | PROT_WRITE) < 0) { /* @control mprotect */
		const int result = -errno;

		(void)munmap(alias, size_bytes); /* @control munmap */
		return result;
	}
	*ret_alias = alias;
	return 0;
}

void guest_alias_unmap(uint8_t *alias, uint64_t size_bytes)
{
	if (!alias)
		return;
	ASSERT(munmap(alias, size_bytes) == 0); /* @control munmap */
}

void guest_alias_drop(uint8_t *alias, uint64_t size_bytes)
{
	ASSERT(is_page_aligned((uintptr_t)alias) && is_page_aligned(size_bytes));
	(void)madvise(alias, size_bytes, MADV_DONTNEED); /* @shard @control madvise */
}

/*
 * The file position may be shared with the VMM and with other shards; only the returned values
 * count.
 */
int guest_next_data(
	int memfd, uint64_t offset, uint64_t end, uint64_t *ret_start, uint64_t *ret_end)
{
	off_t start;
	off_t stop;

	ASSERT(offset <= end);
	start = lseek(memfd, (off_t)offset, SEEK_DATA); /* @control lseek */
	if (start < 0)
		return -errno;
	if ((uint64_t)start >= end)
		return -ENXIO;
	*ret_start = (uint64_t)start;
	if (!ret_end)
		return 0;
	stop = lseek(memfd, start, SEEK_HOLE); /* @control lseek */
	if (stop < 0)
		return -errno;
	/* Punched between the two calls: the run is gone, but one page is a safe thing to look at.
	 */
	if (stop <= start)
		stop = start + (off_t)PAGE_BYTES;
	*ret_end = MIN((uint64_t)stop, end);
	return 0;
}

int guest_cached(const uint8_t *alias, uint32_t pages, uint64_t *ret_cached)
{
	unsigned char held[CHUNK_PAGES];

	ASSERT(pages > 0);
	ASSERT(pages <= CHUNK_PAGES);
	/* The call takes the address without const; it reads no content. */
	if (mincore((void *)(uintptr_t)alias, pages * PAGE_BYTES, held) < 0) /* @shard mincore */
		return -errno;
	memset(ret_cached, 0, BITMAP_WORDS(pages) * sizeof(*ret_cached));
	for (uint32_t i = 0; i < pages; i++)
		if (held[i] & 1)
			bit_set(ret_cached, i);
	return 0;
}

int guest_punch(int memfd, uint64_t offset, uint64_t size_bytes)
{
	ASSERT(offset % PAGE_BYTES == 0);
	ASSERT(size_bytes > 0 && size_bytes % PAGE_BYTES == 0);
	/* @unfiltered fallocate */
	return errno_of(fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		(off_t)size_bytes));
}

int guest_cached_bytes(int memfd, uint64_t *ret_bytes)
{
	struct stat status;

	if (fstat(memfd, &status) < 0) /* @control newfstatat fstat */
		return -errno;
	ASSERT(status.st_blocks >= 0);
	*ret_bytes = (uint64_t)status.st_blocks * STAT_BLOCK_BYTES;
	return 0;
}

int guest_pagemap_open(int pid)
{
	char path[sizeof("/proc/-2147483648/pagemap")];

	ASSERT(pid > 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	return errno_of(open(path, O_RDONLY | O_CLOEXEC)); /* @control openat */
}

struct scan {
	int pagemap_fd;
	uint64_t address;
	uint32_t pages;
	uint64_t mask;
	uint64_t inverted;
};

static void mark_region(const struct scan *scan, const struct page_region *region, uint64_t *bitmap)
{
	const uint64_t first = (region->start - scan->address) / PAGE_BYTES;
	const uint64_t last = (region->end - scan->address) / PAGE_BYTES;

	ASSERT(region->start >= scan->address);
	ASSERT(last <= scan->pages);
	for (uint64_t page = first; page < last; page++)
		bit_set(bitmap, page);
}

/* Bounded: each turn moves on, or it ends. */
static int scan_pages(const struct scan *scan, uint64_t *bitmap)
{
	const uint64_t end = scan->address + (uint64_t)scan->pages * PAGE_BYTES;
	struct page_region regions[SCAN_REGIONS];
	uint64_t start = scan->address;

	if (feature_is_disabled(FEATURE_PAGEMAP_SCAN))
		return -ENOTTY;
	memset(bitmap, 0, BITMAP_WORDS((size_t)scan->pages) * sizeof(*bitmap));
	while (start < end) {
		struct pm_scan_arg argument = {
			.size = sizeof(argument),
			.start = start,
			.end = end,
			.vec = (uintptr_t)regions,
			.vec_len = SCAN_REGIONS,
			.category_mask = scan->mask,
			.category_inverted = scan->inverted,
			.return_mask = scan->mask,
		};
		/* @control ioctl */
		const int count = ioctl(scan->pagemap_fd, PAGEMAP_SCAN, &argument);

		if (count < 0)
			return -errno;
		for (int i = 0; i < count; i++)
			mark_region(scan, &regions[i], bitmap);
		if (argument.walk_end <= start)
			return -EIO;
		start = argument.walk_end;
	}
	return 0;
}

int guest_scan_marked(int pagemap_fd, uint64_t address, uint32_t pages, uint64_t *ret_marked)
{
	const struct scan scan = {
		.pagemap_fd = pagemap_fd,
		.address = address,
		.pages = pages,
		.mask = PAGE_IS_SWAPPED | PAGE_IS_WRITTEN,
		.inverted = PAGE_IS_WRITTEN,
	};

	ASSERT(is_page_aligned(address));
	ASSERT(pages > 0);
	return scan_pages(&scan, ret_marked);
}

/* Before Linux 6.7: eight bytes a page, read from the file. */
static int read_present(const struct scan *scan, uint64_t *bitmap)
{
	uint64_t entries[PAGEMAP_ENTRIES];

	memset(bitmap, 0, BITMAP_WORDS((size_t)scan->pages) * sizeof(*bitmap));
	for (uint32_t done = 0; done < scan->pages;) {
		const uint32_t count = MIN(scan->pages - done, PAGEMAP_ENTRIES);
		const uint64_t offset = (scan->address / PAGE_BYTES + done) * sizeof(entries[0]);
		const ssize_t length =
			/* @control pread64 */
			pread(scan->pagemap_fd, entries, count * sizeof(entries[0]), (off_t)offset);

		if (length < 0)
			return -errno;
		if (length < (ssize_t)sizeof(entries[0]))
			return -ESRCH; /* an exited process has an empty pagemap */
		const uint32_t got = (uint32_t)((size_t)length / sizeof(entries[0]));

		for (uint32_t i = 0; i < got; i++) {
			if (entries[i] & PAGEMAP_PRESENT)
				bit_set(bitmap, done + i);
		}
		done += got;
	}
	return 0;
}

int guest_scan_present(int pagemap_fd, uint64_t address, uint32_t pages, uint64_t *ret_present)
{
	const struct scan scan = {
		.pagemap_fd = pagemap_fd,
		.address = address,
		.pages = pages,
		.mask = PAGE_IS_PRESENT,
	};
	int result;

	ASSERT(is_page_aligned(address));
	ASSERT(pages > 0);
	result = scan_pages(&scan, ret_present);
	return result == -ENOTTY ? read_present(&scan, ret_present) : result;
}

/* The kernel may stop early and say how far it came; each turn moves on, or it ends. */
int guest_pageout(int pidfd, uint64_t address, uint64_t size_bytes)
{
	ASSERT(is_page_aligned(address) && is_page_aligned(size_bytes));
	for (uint64_t done = 0; done < size_bytes;) {
		/* An address of another process, never dereferenced here. */
		const struct iovec range = {
			.iov_base = (void *)(uintptr_t)(address + done),
			.iov_len = size_bytes - done,
		};
		const long advised =
			/* @control process_madvise */
			syscall(SYS_process_madvise, pidfd, &range, 1, MADV_PAGEOUT, 0);

		if (advised < 0)
			return -errno;
		if (advised == 0)
			return -EIO;
		done += (uint64_t)advised;
	}
	return 0;
}
