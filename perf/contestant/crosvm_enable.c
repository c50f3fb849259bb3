/* SPDX-License-Identifier: Apache-2.0 */
/* crosvm-style: memory goes to the staging area, and is let go of in the end. */
#include <sys/mman.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "io/guest.h"
#include "perf/contestant/crosvm.h"
#include "perf/contestant/resolve.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* ---- what there is while swap is enabled ---- */

static int map_file(int fd, uint64_t size_bytes, int protection, uint8_t **ret_memory)
{
	void *memory;

	if (ftruncate(fd, (off_t)size_bytes) < 0)
		return -errno;
	memory = mmap(NULL, size_bytes, protection, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*ret_memory = memory;
	return 0;
}

/* The mapping keeps it. */
static int map_staging(struct crosvm_monitor *monitor)
{
	CLEANUP_FD int fd = (int)errno_of(memfd_create("crosvm-staging", MFD_CLOEXEC));

	return fd < 0 ? fd
		      : map_file(
				fd, monitor->size_bytes, PROT_READ | PROT_WRITE, &monitor->staging);
}

static int register_memory(const struct crosvm_monitor *monitor)
{
	struct uffdio_register range = {
		.range = {.start = monitor->address, .len = monitor->size_bytes},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return errno_of(ioctl(monitor->uffd, UFFDIO_REGISTER, &range));
}

static int begin(struct crosvm_monitor *monitor)
{
	int error = crosvm_pages_open(&monitor->pages, monitor->size_bytes / PAGE_BYTES);

	if (error == 0)
		error = map_staging(monitor);
	if (error == 0)
		error = map_file(monitor->file, monitor->size_bytes, PROT_READ, &monitor->copies);
	if (error == 0 && monitor->is_random)
		error = errno_of(madvise(monitor->copies, monitor->size_bytes, MADV_RANDOM));
	if (error == 0)
		error = register_memory(monitor);
	monitor->prefetched_slots = 0;
	monitor->is_enabled = error == 0;
	return error;
}

int crosvm_disable(struct crosvm_monitor *monitor)
{
	struct uffdio_range range = {.start = monitor->address, .len = monitor->size_bytes};

	ASSERT(monitor->is_enabled);
	if (ioctl(monitor->uffd, UFFDIO_UNREGISTER, &range) < 0)
		return -errno;
	/* A fault that came between the kernel's own wake and the end would sleep for ever. */
	resolve_wake(monitor->uffd, monitor->address, monitor->size_bytes);
	(void)munmap(monitor->staging, monitor->size_bytes);
	(void)munmap(monitor->copies, monitor->size_bytes);
	crosvm_pages_close(&monitor->pages);
	monitor->is_enabled = false;
	return errno_of(ftruncate(monitor->file, 0));
}

/* ---- the move ---- */

static void flush(const struct crosvm_monitor *monitor, struct crosvm_batch *batch)
{
	if (batch->count == 0)
		return;
	crosvm_workers_push(monitor->workers, monitor->staging, batch);
	batch->count = 0;
	batch->pages = 0;
}

static void add(struct crosvm_monitor *monitor, struct crosvm_batch *batch, uint64_t start,
	uint64_t size_bytes)
{
	batch->run[batch->count].offset = start;
	batch->run[batch->count].size_bytes = size_bytes;
	batch->count++;
	batch->pages += (uint32_t)(size_bytes / PAGE_BYTES);
	crosvm_pages_stage(&monitor->pages, start / PAGE_BYTES, size_bytes / PAGE_BYTES);
	if (batch->pages == CHUNK_PAGES)
		flush(monitor, batch);
}

/*
 * Cuts a run of data into pieces of batches. Whole chunks stay whole, so that a huge page is
 * removed at once: what is larger is cut where a chunk begins, and begins a batch of its own there.
 */
static void add_run(
	struct crosvm_monitor *monitor, struct crosvm_batch *batch, uint64_t start, uint64_t end)
{
	while (start < end) {
		const uint64_t into_chunk = start % CHUNK_BYTES;
		uint64_t size_bytes = end - start;

		if (size_bytes >= CHUNK_BYTES && into_chunk == 0)
			flush(monitor, batch);
		if (size_bytes >= CHUNK_BYTES)
			size_bytes = CHUNK_BYTES - into_chunk;
		size_bytes = MIN(size_bytes, (CHUNK_PAGES - batch->pages) * PAGE_BYTES);
		add(monitor, batch, start, size_bytes);
		start += size_bytes;
	}
}

static int move_all(struct crosvm_monitor *monitor, uint64_t *ret_pages)
{
	struct crosvm_batch batch = {0};
	uint64_t bytes = 0;
	uint64_t start;
	uint64_t end;

	for (uint64_t at = 0; at < monitor->size_bytes; at = end) {
		const int error =
			guest_next_data(monitor->memfd, at, monitor->size_bytes, &start, &end);

		if (error == -ENXIO)
			break;
		if (error < 0)
			return error;
		add_run(monitor, &batch, start, end);
		bytes += end - start;
	}
	flush(monitor, &batch);
	*ret_pages = bytes / PAGE_BYTES;
	return 0;
}

int64_t crosvm_enable(struct crosvm_monitor *monitor)
{
	uint64_t pages = 0;
	int error = monitor->is_enabled ? 0 : begin(monitor);
	int worker_error;

	if (error < 0)
		return error;
	crosvm_lock(monitor);
	error = move_all(monitor, &pages);
	worker_error = crosvm_workers_wait(monitor->workers);
	crosvm_unlock(monitor);
	if (error == 0)
		error = worker_error;
	return error < 0 ? error : (int64_t)pages;
}
