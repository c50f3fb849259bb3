/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/copy_record.h"

#include "queue/base/assert.h"
#include "queue/base/bits.h"

void copy_record_begin(struct copy_record *record, uint64_t page, uint64_t pages)
{
	ASSERT(pages > 0);
	ASSERT(atomic_load_explicit(&record->pages, memory_order_relaxed) == 0);
	record->page = page;
	uffd_call_clear(&record->call);
	/* pairs with copy_record_has(), in another process, after the death of this one */
	atomic_store_explicit(&record->pages, pages, memory_order_release);
}

void copy_record_end(struct copy_record *record)
{
	/* as above: the words come before it */
	atomic_store_explicit(&record->pages, 0, memory_order_release);
}

bool copy_record_has(const struct copy_record *record, uint64_t page)
{
	const uint64_t pages = atomic_load_explicit(&record->pages, memory_order_acquire);
	const uint64_t done = uffd_call_done(&record->call) / PAGE_BYTES;

	return page >= record->page && page - record->page < MIN(pages, done);
}
