/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/spans.h"

#include <errno.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"

static uint64_t span_end(const struct span *span)
{
	return span->address + span->pages * PAGE_BYTES;
}

int spans_add(struct spans *spans, uint64_t address, uint64_t pages, uint64_t first_page)
{
	ASSERT(address % PAGE_BYTES == 0);
	ASSERT(pages > 0);
	if (spans->count == SPANS_MAX)
		return -ENOSPC;
	spans->span[spans->count++] =
		(struct span){.address = address, .pages = pages, .first_page = first_page};
	return 0;
}

bool spans_page(const struct spans *spans, uint64_t address, uint64_t *ret_page)
{
	for (uint32_t i = 0; i < spans->count; i++) {
		const struct span *span = &spans->span[i];

		if (address >= span->address && address < span_end(span)) {
			*ret_page = span->first_page + (address - span->address) / PAGE_BYTES;
			return true;
		}
	}
	return false;
}

bool spans_address(
	const struct spans *spans, uint64_t page, uint64_t *ret_address, uint64_t *ret_pages)
{
	for (uint32_t i = 0; i < spans->count; i++) {
		const struct span *span = &spans->span[i];

		if (page >= span->first_page && page - span->first_page < span->pages) {
			*ret_address = span->address + (page - span->first_page) * PAGE_BYTES;
			*ret_pages = span->pages - (page - span->first_page);
			return true;
		}
	}
	return false;
}

/* Cuts [address, end) out of a run; what lies behind the cut becomes a run of its own. */
static int cut(struct spans *spans, struct span *span, uint64_t address, uint64_t end)
{
	const struct span whole = *span;
	int error = 0;

	ASSERT(address < end);
	if (address > whole.address)
		span->pages = (address - whole.address) / PAGE_BYTES;
	else
		*span = spans->span[--spans->count];
	if (end < span_end(&whole))
		error = spans_add(spans, end, (span_end(&whole) - end) / PAGE_BYTES,
			whole.first_page + (end - whole.address) / PAGE_BYTES);
	return error;
}

/* Takes one overlap with [address, end) out of the table; false when there is none. */
static bool take_overlap(
	struct spans *spans, uint64_t address, uint64_t end, struct span *ret_span, int *ret_error)
{
	for (uint32_t i = 0; i < spans->count; i++) {
		struct span *span = &spans->span[i];
		const uint64_t from = MAX(address, span->address);
		const uint64_t to = MIN(end, span_end(span));

		if (from >= to)
			continue;
		*ret_span = (struct span){
			.address = from,
			.pages = (to - from) / PAGE_BYTES,
			.first_page = span->first_page + (from - span->address) / PAGE_BYTES,
		};
		*ret_error = cut(spans, span, from, to);
		return true;
	}
	return false;
}

int spans_remove(struct spans *spans, uint64_t address, uint64_t end)
{
	struct span gone;
	int error = 0;
	int cut_error;

	while (take_overlap(spans, address, end, &gone, &cut_error))
		error = error ? error : cut_error;
	return error;
}

int spans_move(struct spans *spans, uint64_t address, uint64_t end, uint64_t to)
{
	struct span moved[SPANS_MAX];
	uint32_t count = 0;
	int error = 0;
	int step_error;

	/* Bounded: each turn removes the overlap it found, and there are at most SPANS_MAX runs. */
	while (count < SPANS_MAX && take_overlap(spans, address, end, &moved[count], &step_error)) {
		error = error ? error : step_error;
		count++;
	}
	for (uint32_t i = 0; i < count; i++) {
		step_error = spans_add(spans, to + (moved[i].address - address), moved[i].pages,
			moved[i].first_page);
		error = error ? error : step_error;
	}
	return error;
}
