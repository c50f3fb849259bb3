/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/resolve.h"

#include <errno.h>

#include "engine/shard.h"
#include "io/uffd.h"
#include "queue/base/assert.h"

bool resolve_address(
	const struct served *served, uint64_t page, uint32_t *pages, uint64_t *ret_address)
{
	uint64_t fitting;

	ASSERT(*pages > 0);
	if (!spans_address(&served->spans, page, ret_address, &fitting))
		return false;
	*pages = (uint32_t)MIN(fitting, *pages);
	return true;
}

static enum resolved resolved_of_error(int error)
{
	switch (error) {
	case -EAGAIN:
	case -ENOMEM:
	case -ENOSPC: return RESOLVED_LATER;
	default: return RESOLVED_GONE; /* -ESRCH, -ENOENT: the process or the mapping */
	}
}

void resolve_wake(const struct served *served, uint64_t page, uint32_t pages)
{
	uint64_t address;

	if (resolve_address(served, page, &pages, &address))
		(void)uffd_wake(served->uffd, address, pages * PAGE_BYTES);
}

enum resolved resolve_cached(
	const struct served *served, uint64_t page, uint32_t pages, bool with_mark)
{
	uint64_t address;
	uint64_t done;
	int error;

	if (!resolve_address(served, page, &pages, &address))
		return RESOLVED_GONE;
	error = uffd_continue(served->uffd, address, pages * PAGE_BYTES, with_mark, &done);
	if (!error || done > 0)
		return RESOLVED_MAPPED;
	if (error == -EEXIST) {
		resolve_wake(served, page, 1);
		return RESOLVED_PRESENT;
	}
	if (error != -EFAULT)
		return resolved_of_error(error);
	error = uffd_zero(served->uffd, address, PAGE_BYTES, &done);
	if (!error)
		return RESOLVED_ZERO;
	/* EEXIST: the hole was filled between the two calls; the next try maps what is there. */
	return error == -EEXIST ? RESOLVED_LATER : resolved_of_error(error);
}

enum resolved resolve_missing(const struct served *served, uint64_t page)
{
	uint32_t pages = 1;
	uint64_t address;
	uint64_t done;
	int error;

	if (!resolve_address(served, page, &pages, &address))
		return RESOLVED_GONE;
	error = uffd_zero(served->uffd, address, PAGE_BYTES, &done);
	if (!error)
		return RESOLVED_ZERO;
	if (error != -EEXIST)
		return resolved_of_error(error);
	return resolve_cached(served, page, 1, false);
}

void resolve_wake_others(const struct shard *shard, struct vm *vm, const struct served *except,
	uint64_t page, uint32_t pages)
{
	const struct vm_shard *mine = shard_of_vm(shard, vm);

	for (uint32_t i = 0; i < mine->served_count; i++)
		if (mine->served[i] != except)
			resolve_wake(mine->served[i], page, pages);
}

void resolve_poison(const struct shard *shard, struct vm *vm, uint64_t page)
{
	const struct vm_shard *mine = shard_of_vm(shard, vm);

	for (uint32_t i = 0; i < mine->served_count; i++) {
		uint32_t pages = 1;
		uint64_t address;
		uint64_t done;
		int error;

		if (!resolve_address(mine->served[i], page, &pages, &address))
			continue;
		error = uffd_poison(mine->served[i]->uffd, address, PAGE_BYTES, &done);
		/* Whoever waits faults again; where the call could not be made yet, it is made
		 * then. */
		if (error == -EEXIST || error == -EAGAIN || error == -ENOMEM)
			resolve_wake(mine->served[i], page, 1);
	}
}
