/* SPDX-License-Identifier: Apache-2.0 */
/* crosvm-style: trim, swap-out and swap-in, a step at a time; each holds the lock all through. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "perf/contestant/crosvm.h"
#include "perf/contestant/resolve.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* What swap-in asks the kernel to read ahead, and how much of it must be free to ask again. */
#define PREFETCH_SLOTS	   ((uint64_t)(16 * MIB / PAGE_BYTES))
#define PREFETCH_MIN_SLOTS ((uint64_t)(4 * MIB / PAGE_BYTES))

/* ---- trim ---- */

/* In steps of 16 bytes, until one is not zero. */
static bool is_zero(const uint8_t *page)
{
	for (size_t i = 0; i < PAGE_BYTES; i += 16) {
		uint64_t words[2];

		memcpy(words, page + i, sizeof(words));
		if ((words[0] | words[1]) != 0)
			return false;
	}
	return true;
}

static int drop_staged(struct crosvm_monitor *monitor, uint64_t page)
{
	crosvm_pages_unstage(&monitor->pages, page, 1);
	return errno_of(madvise(monitor->staging + page * PAGE_BYTES, PAGE_BYTES, MADV_REMOVE));
}

/* 1 when the page was dropped. Comparing with the file may read the disk. */
static int trim(struct crosvm_monitor *monitor, uint64_t page)
{
	const uint8_t *staged = monitor->staging + page * PAGE_BYTES;
	uint64_t slot;
	int error;

	if (is_zero(staged))
		crosvm_pages_free_slot(&monitor->pages, page);
	else if (crosvm_pages_slot(&monitor->pages, page, &slot) &&
		 memcmp(staged, monitor->copies + slot * PAGE_BYTES, PAGE_BYTES) == 0)
		crosvm_pages_set_in_file(&monitor->pages, page, true);
	else
		return 0;
	error = drop_staged(monitor, page);
	return error < 0 ? error : 1;
}

static int64_t trim_locked(struct crosvm_monitor *monitor, uint64_t first)
{
	const uint64_t end = MIN(first + CROSVM_TRIM_PAGES, monitor->pages.count);
	int64_t dropped = 0;

	for (uint64_t page = first; page < end; page++) {
		const int result = monitor->pages.is_staged[page] ? trim(monitor, page) : 0;

		if (result < 0)
			return result;
		dropped += result;
	}
	return dropped;
}

int64_t crosvm_trim_batch(struct crosvm_monitor *monitor, uint64_t first)
{
	int64_t dropped;

	crosvm_lock(monitor);
	dropped = trim_locked(monitor, first);
	crosvm_unlock(monitor);
	return dropped;
}

/* ---- swap-out ---- */

static int write_all(int fd, const uint8_t *from, uint64_t size_bytes, uint64_t offset)
{
	for (uint64_t done = 0; done < size_bytes;) {
		const ssize_t put =
			pwrite(fd, from + done, size_bytes - done, (off_t)(offset + done));

		if (put < 0)
			return -errno;
		done += (uint64_t)put;
	}
	return 0;
}

/* One pwrite() for each run of neighbouring slots. */
static int write_pages(struct crosvm_monitor *monitor, uint64_t first, uint64_t count)
{
	uint64_t run;

	for (uint64_t done = 0; done < count; done += run) {
		const uint64_t slot = crosvm_pages_take_slot(&monitor->pages, first + done);
		int error;

		for (run = 1; done + run < count; run++)
			if (crosvm_pages_take_slot(&monitor->pages, first + done + run) !=
				slot + run)
				break;
		error = write_all(monitor->file, monitor->staging + (first + done) * PAGE_BYTES,
			run * PAGE_BYTES, slot * PAGE_BYTES);
		if (error < 0)
			return error;
	}
	return 0;
}

static int64_t swap_out_locked(struct crosvm_monitor *monitor)
{
	uint64_t first;
	const uint64_t count = crosvm_pages_next_staged(&monitor->pages, CHUNK_PAGES, &first);
	int error;

	if (count == 0)
		return 0;
	error = write_pages(monitor, first, count);
	if (error < 0)
		return error;
	for (uint64_t page = first; page < first + count; page++)
		crosvm_pages_set_in_file(&monitor->pages, page, true);
	crosvm_pages_unstage(&monitor->pages, first, count);
	error = errno_of(
		madvise(monitor->staging + first * PAGE_BYTES, count * PAGE_BYTES, MADV_REMOVE));
	return error < 0 ? error : (int64_t)count;
}

int64_t crosvm_swap_out_step(struct crosvm_monitor *monitor)
{
	int64_t pages;

	crosvm_lock(monitor);
	pages = swap_out_locked(monitor);
	crosvm_unlock(monitor);
	return pages;
}

/* ---- swap-in ---- */

/* Wakes nobody: who waits is found when its fault is read, or woken when all is back. */
static int copy_back(
	struct crosvm_monitor *monitor, uint64_t page, const uint8_t *from, uint64_t count)
{
	return resolve_copy(monitor->uffd, monitor->address + page * PAGE_BYTES, from,
		count * PAGE_BYTES, UFFDIO_COPY_MODE_DONTWAKE);
}

static int64_t swap_in_staged(struct crosvm_monitor *monitor)
{
	uint64_t first;
	const uint64_t count = crosvm_pages_next_staged(&monitor->pages, CHUNK_PAGES, &first);
	uint8_t *staged = monitor->staging + first * PAGE_BYTES;
	int error;

	if (count == 0)
		return 0;
	error = copy_back(monitor, first, staged, count);
	if (error < 0)
		return error;
	crosvm_pages_unstage(&monitor->pages, first, count);
	error = errno_of(madvise(staged, count * PAGE_BYTES, MADV_REMOVE));
	return error < 0 ? error : (int64_t)count;
}

/* Asks for the next run of slots in use, whichever their pages, before they are needed. */
static void prefetch(struct crosvm_monitor *monitor)
{
	const struct crosvm_pages *pages = &monitor->pages;
	const uint64_t limit = MIN(pages->filed_from + PREFETCH_SLOTS, pages->slots);
	uint64_t start = MAX(monitor->prefetched_slots, pages->filed_from);
	uint64_t end;

	if (pages->filed_from + PREFETCH_SLOTS - start <= PREFETCH_MIN_SLOTS)
		return;
	while (start < limit && !crosvm_pages_slot_is_used(pages, start))
		start++;
	end = start;
	while (end < limit && crosvm_pages_slot_is_used(pages, end))
		end++;
	if (end > start)
		(void)madvise(monitor->copies + start * PAGE_BYTES, (end - start) * PAGE_BYTES,
			MADV_WILLNEED);
	monitor->prefetched_slots = end;
}

static int64_t swap_in_filed(struct crosvm_monitor *monitor)
{
	uint64_t slot;
	uint64_t page;
	const uint64_t count = crosvm_pages_next_filed(&monitor->pages, CHUNK_PAGES, &slot, &page);
	uint8_t *copy;
	int error;

	if (count == 0)
		return 0;
	prefetch(monitor);
	copy = monitor->copies + slot * PAGE_BYTES;
	error = copy_back(monitor, page, copy, count);
	if (error < 0)
		return error;
	for (uint64_t i = 0; i < count; i++)
		crosvm_pages_set_in_file(&monitor->pages, page + i, false);
	error = errno_of(madvise(copy, count * PAGE_BYTES, MADV_DONTNEED));
	return error < 0 ? error : (int64_t)count;
}

int64_t crosvm_swap_in_step(struct crosvm_monitor *monitor)
{
	int64_t pages;

	crosvm_lock(monitor);
	pages = swap_in_staged(monitor);
	if (pages == 0)
		pages = swap_in_filed(monitor);
	crosvm_unlock(monitor);
	return pages;
}
