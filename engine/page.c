/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/page.h"

#include <assert.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"

#define TO(state) (1u << PAGE_##state)

/* Row: from. Staying in a state is a change of slot or flags. */
static const uint16_t edges[] = {
	[PAGE_EMPTY] = TO(EMPTY) | TO(RESIDENT) | TO(STAGED),
	[PAGE_RESIDENT] = TO(RESIDENT) | TO(EMPTY) | TO(STAGED),
	[PAGE_STAGED] = TO(STAGED) | TO(RESIDENT) | TO(WRITING) | TO(PUNCHING) | TO(EMPTY),
	[PAGE_WRITING] = TO(STAGED) | TO(RESIDENT),
	[PAGE_PUNCHING] = TO(SWAPPED) | TO(EMPTY),
	[PAGE_SWAPPED] = TO(READING) | TO(SWAPPED) | TO(EMPTY),
	[PAGE_READING] = TO(READING) | TO(RESIDENT) | TO(SWAPPED) | TO(POISONED),
	[PAGE_POISONED] = TO(EMPTY),
};
static_assert(ARRAY_SIZE(edges) == PAGE_STATES, "every state has a row of edges");

static const char *const names[] = {
	[PAGE_EMPTY] = "empty",
	[PAGE_RESIDENT] = "resident",
	[PAGE_STAGED] = "staged",
	[PAGE_WRITING] = "writing",
	[PAGE_PUNCHING] = "punching",
	[PAGE_SWAPPED] = "swapped",
	[PAGE_READING] = "reading",
	[PAGE_POISONED] = "poisoned",
};
static_assert(ARRAY_SIZE(names) == PAGE_STATES, "every state has a name");

const char *page_state_name(enum page_state state)
{
	ASSERT(state < PAGE_STATES);
	return names[state];
}

bool page_edge_is_allowed(enum page_state from, enum page_state to)
{
	ASSERT(from < PAGE_STATES);
	ASSERT(to < PAGE_STATES);
	return (edges[from] >> to) & 1;
}

bool page_word_is_valid(page_word word)
{
	const enum page_state state = page_state_of(word);
	const bool has_slot = page_has_slot(word);

	if (state >= PAGE_STATES || ((uint32_t)word & ~(PAGE_LINK | PAGE_FLAGS | 0xfu)) != 0)
		return false;
	if (page_link_of(word) < -PAGE_LINK_MAX)
		return false;
	if (!has_slot && page_slot_of(word) != 0)
		return false;
	if (page_is_clean(word) && (state != PAGE_STAGED || !has_slot))
		return false;
	if (page_is_stuck(word) && state != PAGE_SWAPPED && state != PAGE_READING)
		return false;
	switch (state) {
	case PAGE_EMPTY: return !has_slot;
	case PAGE_WRITING:
	case PAGE_SWAPPED:
	case PAGE_READING:
	case PAGE_POISONED: return has_slot;
	case PAGE_RESIDENT:
	case PAGE_STAGED:
	case PAGE_PUNCHING:
	case PAGE_STATES: break;
	}
	return true;
}
