/* SPDX-License-Identifier: Apache-2.0 */
/* crosvm-style: one message a read(), one page a fault, all of it under the lock. */
#include <sys/mman.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "perf/contestant/crosvm.h"
#include "perf/contestant/resolve.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

static int copy_staged(struct crosvm_monitor *monitor, uint64_t page, uint64_t address)
{
	uint8_t *staged = monitor->staging + page * PAGE_BYTES;
	const int error = resolve_copy(monitor->uffd, address, staged, PAGE_BYTES, 0);

	if (error < 0)
		return error;
	crosvm_pages_unstage(&monitor->pages, page, 1);
	return errno_of(madvise(staged, PAGE_BYTES, MADV_REMOVE));
}

/* The disk is read inside COPY, unless the kernel has read around an earlier fault. */
static int copy_from_file(struct crosvm_monitor *monitor, uint64_t page, uint64_t address)
{
	uint64_t slot;
	uint8_t *copy;
	int error;

	ASSERT(crosvm_pages_slot(&monitor->pages, page, &slot));
	copy = monitor->copies + slot * PAGE_BYTES;
	error = resolve_copy(monitor->uffd, address, copy, PAGE_BYTES, 0);
	if (error < 0)
		return error;
	crosvm_pages_set_in_file(&monitor->pages, page, false);
	return errno_of(madvise(copy, PAGE_BYTES, MADV_DONTNEED));
}

static int resolve(struct crosvm_monitor *monitor, uint64_t address)
{
	const uint64_t page = (address - monitor->address) / PAGE_BYTES;

	ASSERT(page < monitor->pages.count);
	if (monitor->pages.is_staged[page])
		return copy_staged(monitor, page, address);
	if (crosvm_pages_is_in_file(&monitor->pages, page))
		return copy_from_file(monitor, page, address);
	return resolve_zero(monitor->uffd, address, PAGE_BYTES);
}

/*
 * EEXIST: another fault of this page came first, or swap-in did, which wakes nobody. EAGAIN: page
 * tables are changing. Either way the thread looks, or faults, again.
 */
static void serve(struct crosvm_monitor *monitor, uint64_t address)
{
	int error;

	crosvm_lock(monitor);
	error = resolve(monitor, address);
	crosvm_unlock(monitor);
	if (error == -EEXIST || error == -EAGAIN)
		resolve_wake(monitor->uffd, address, PAGE_BYTES);
	else if (error < 0)
		handler_give_up(monitor->self, "a fault", error);
}

void crosvm_serve(struct crosvm_monitor *monitor)
{
	struct uffd_msg fault;

	while (read(monitor->uffd, &fault, sizeof(fault)) == sizeof(fault))
		serve(monitor, resolve_address(&fault));
	if (errno != EAGAIN)
		handler_give_up(monitor->self, "reading faults", -errno);
}
