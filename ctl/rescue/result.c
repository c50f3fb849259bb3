/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/rescue/result.h"

#include <stdbool.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"

static bool continues(const struct rescue_run *run, uint64_t page, uint64_t address)
{
	const uint64_t next = run->address == 0 ? 0 : run->address + run->count * PAGE_BYTES;

	return page == run->page + run->count && address == next;
}

void rescue_result_lose(struct rescue_result *result, uint64_t page, uint64_t address)
{
	struct rescue_run *last =
		result->lost_count > 0 ? &result->lost[result->lost_count - 1] : NULL;

	ASSERT(result->lost_count <= RESCUE_LOST_MAX);
	ASSERT(!last || page >= last->page + last->count);
	result->lost_pages++;
	if (last && continues(last, page, address))
		last->count++;
	else if (result->lost_count < RESCUE_LOST_MAX)
		result->lost[result->lost_count++] =
			(struct rescue_run){.page = page, .count = 1, .address = address};
}
