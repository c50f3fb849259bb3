/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/crosvm_pages.h"

#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* In slot_of: the page is in the file. In owner_of: the slot is free. */
#define TOP_BIT ((uint32_t)1 << 31)

int crosvm_pages_open(struct crosvm_pages *pages, uint64_t count)
{
	ASSERT(count > 0);
	ASSERT(count < TOP_BIT - 1);
	*pages = (struct crosvm_pages){
		.count = count,
		.is_staged = calloc(count, sizeof(*pages->is_staged)),
		.slot_of = calloc(count, sizeof(*pages->slot_of)),
		.owner_of = calloc(count, sizeof(*pages->owner_of)),
	};
	return pages->is_staged && pages->slot_of && pages->owner_of ? 0 : -ENOMEM;
}

void crosvm_pages_close(struct crosvm_pages *pages)
{
	free(pages->is_staged);
	free(pages->slot_of);
	free(pages->owner_of);
	*pages = (struct crosvm_pages){0};
}

void crosvm_pages_stage(struct crosvm_pages *pages, uint64_t first, uint64_t count)
{
	ASSERT(first + count <= pages->count);
	memset(pages->is_staged + first, true, count);
	pages->staged_from = MIN(pages->staged_from, first);
}

void crosvm_pages_unstage(struct crosvm_pages *pages, uint64_t first, uint64_t count)
{
	ASSERT(first + count <= pages->count);
	memset(pages->is_staged + first, false, count);
}

uint64_t crosvm_pages_next_staged(struct crosvm_pages *pages, uint64_t max, uint64_t *ret_first)
{
	uint64_t first = pages->staged_from;
	uint64_t count = 0;

	while (first < pages->count && !pages->is_staged[first])
		first++;
	pages->staged_from = first;
	while (count < max && first + count < pages->count && pages->is_staged[first + count])
		count++;
	*ret_first = first;
	return count;
}

bool crosvm_pages_slot(const struct crosvm_pages *pages, uint64_t page, uint64_t *ret_slot)
{
	const uint32_t slot = pages->slot_of[page] & ~TOP_BIT;

	if (slot == 0)
		return false;
	*ret_slot = slot - 1;
	return true;
}

bool crosvm_pages_is_in_file(const struct crosvm_pages *pages, uint64_t page)
{
	return pages->slot_of[page] & TOP_BIT;
}

/* The slot that was freed last, else one at the end. */
static uint64_t new_slot(struct crosvm_pages *pages)
{
	uint64_t slot;

	if (pages->free_slot == 0) {
		ASSERT(pages->slots < pages->count);
		return pages->slots++;
	}
	slot = pages->free_slot - 1;
	ASSERT(pages->owner_of[slot] & TOP_BIT);
	pages->free_slot = pages->owner_of[slot] & ~TOP_BIT;
	return slot;
}

uint64_t crosvm_pages_take_slot(struct crosvm_pages *pages, uint64_t page)
{
	uint64_t slot;

	if (crosvm_pages_slot(pages, page, &slot))
		return slot;
	slot = new_slot(pages);
	pages->owner_of[slot] = (uint32_t)page;
	pages->slot_of[page] = (uint32_t)slot + 1;
	return slot;
}

void crosvm_pages_free_slot(struct crosvm_pages *pages, uint64_t page)
{
	uint64_t slot;

	if (!crosvm_pages_slot(pages, page, &slot))
		return;
	pages->slot_of[page] = 0;
	pages->owner_of[slot] = pages->free_slot | TOP_BIT;
	pages->free_slot = (uint32_t)slot + 1;
}

void crosvm_pages_set_in_file(struct crosvm_pages *pages, uint64_t page, bool is_in_file)
{
	ASSERT((pages->slot_of[page] & ~TOP_BIT) != 0);
	if (!is_in_file) {
		pages->slot_of[page] &= ~TOP_BIT;
		return;
	}
	pages->slot_of[page] |= TOP_BIT;
	pages->filed_from = MIN(pages->filed_from, (pages->slot_of[page] & ~TOP_BIT) - 1);
}

bool crosvm_pages_slot_is_used(const struct crosvm_pages *pages, uint64_t slot)
{
	const uint32_t page = pages->owner_of[slot];

	return !(page & TOP_BIT) && crosvm_pages_is_in_file(pages, page);
}

uint64_t crosvm_pages_next_filed(
	struct crosvm_pages *pages, uint64_t max, uint64_t *ret_slot, uint64_t *ret_page)
{
	uint64_t slot = pages->filed_from;
	uint64_t count = 0;

	while (slot < pages->slots && !crosvm_pages_slot_is_used(pages, slot))
		slot++;
	pages->filed_from = slot;
	while (count < max && slot + count < pages->slots &&
		crosvm_pages_slot_is_used(pages, slot + count) &&
		pages->owner_of[slot + count] == pages->owner_of[slot] + count)
		count++;
	if (count > 0) {
		*ret_slot = slot;
		*ret_page = pages->owner_of[slot];
	}
	return count;
}
