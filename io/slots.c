/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: who has which page-sized place of the store.
 *
 *   map (shared memory)      group:    0        1        2     …
 *     taken    64 B a group          [512 bits][512 bits][    ]     used or retired
 *     retired  64 B a group          [512 bits][512 bits][    ]
 *     touched   1 B a group          [1]       [1]       [0]        0: never used, or given back
 *
 *   Group g belongs to shard g mod N, as that shard's local group g / N.
 *
 * Invariants
 *  1. A retired slot is taken. A used slot is taken and not retired.
 *  2. A group with a taken slot is touched. The byte is stored first, so a process that dies
 *     between the two stores leaves a group that looks dirty, never one that looks unused.
 *  3. The bitmaps of groups that are not touched are never read, so a successor's recount makes
 *     no page of a sparse map dense.
 *  4. Per local group: `open` has it when it has a free slot, `empty` when nothing is taken,
 *     `dirty` when it is empty and touched; a group that is held (its space is being given back)
 *     is in none of them.
 *
 * Taking a run, in this order: a run of the whole length in the group of the cursor or one of the
 * next SEARCH_GROUPS - 1 open groups; an empty group, wherever it is; the longest run seen.
 * Bound: SEARCH_GROUPS groups of 8 words and at most 256 runs, and two groupset steps; groups that
 * cannot beat what was found are passed over by a bound on their longest run, exact after each
 * whole scan and doubled by a slot that comes back (it can join two runs). The cursor stays on the
 * group that gave last, so neighbours of successive takes are neighbours in the file.
 */
#include "io/slots.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "io/groupset.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define SEARCH_GROUPS 16u
#define GROUP_WORDS   (CHUNK_PAGES / 64u)
#define GROUP_BYTES   (GROUP_WORDS * sizeof(uint64_t))

static_assert(CHUNK_PAGES % 64 == 0, "a group is whole words");
static_assert(GROUP_BYTES == CACHE_LINE, "shards share no line of the map's bitmaps");

struct slots {
	/* constant after slots_new() */
	uint64_t *taken;
	uint64_t *retired;
	uint8_t *touched;
	uint32_t shard;
	uint32_t shard_count;
	uint32_t group_count; /* local */

	/* owner thread only */
	uint16_t *taken_count; /* by local group */
	uint16_t *shortfall;   /* by local group: no run is longer than CHUNK_PAGES less this */
	struct groupset open;
	struct groupset empty;
	struct groupset dirty;
	struct groupset held;
	uint32_t cursor; /* local group */

	/* any thread, by atomics; written by the owner */
	_Alignas(CACHE_LINE) _Atomic uint64_t used_total;
	_Atomic uint64_t retired_total;
};

struct run {
	uint32_t first; /* slot within its group */
	uint32_t length;
	uint32_t group; /* local */
};

static uint64_t group_of(const struct slots *slots, uint32_t local)
{
	return (uint64_t)local * slots->shard_count + slots->shard;
}

static uint64_t *taken_of(const struct slots *slots, uint32_t local)
{
	return slots->taken + group_of(slots, local) * GROUP_WORDS;
}

static uint64_t *retired_of(const struct slots *slots, uint32_t local)
{
	return slots->retired + group_of(slots, local) * GROUP_WORDS;
}

static uint32_t local_of(const struct slots *slots, uint32_t slot)
{
	const uint32_t group = slot / CHUNK_PAGES;
	const uint32_t local = group / slots->shard_count;

	ASSERT(group % slots->shard_count == slots->shard);
	ASSERT(local < slots->group_count);
	return local;
}

static uint32_t first_slot_of(const struct slots *slots, uint32_t local)
{
	return (uint32_t)(group_of(slots, local) * CHUNK_PAGES);
}

/* Plain load and store: the owner is the only writer, others may read a moment late. */
static void count_add(_Atomic uint64_t *counter, int64_t difference)
{
	const uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, value + (uint64_t)difference, memory_order_relaxed);
}

static uint32_t count_bits(const uint64_t *words)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < GROUP_WORDS; i++)
		count += (uint32_t)__builtin_popcountll(words[i]);
	return count;
}

static void put_in_set(struct groupset *set, uint32_t local, bool is_member)
{
	if (is_member)
		groupset_add(set, local);
	else
		groupset_remove(set, local);
}

/* Makes invariant 4 true again for one group. */
static void sort_group(struct slots *slots, uint32_t local)
{
	const uint32_t count = slots->taken_count[local];
	const bool is_held = groupset_has(&slots->held, local);
	const bool is_touched = slots->touched[group_of(slots, local)];

	ASSERT(count <= CHUNK_PAGES);
	put_in_set(&slots->open, local, !is_held && count < CHUNK_PAGES);
	put_in_set(&slots->empty, local, !is_held && count == 0);
	put_in_set(&slots->dirty, local, !is_held && count == 0 && is_touched);
}

/* Invariant 2; the fence keeps the byte before the bits that the caller stores next. */
static void touch_group(struct slots *slots, uint32_t local)
{
	uint8_t *touched = &slots->touched[group_of(slots, local)];

	if (*touched)
		return;
	*touched = 1;
	atomic_thread_fence(memory_order_release); /* read by a successor's slots_new() */
}

uint64_t slots_map_bytes(uint64_t slot_count)
{
	const uint64_t groups = slot_count / CHUNK_PAGES;

	ASSERT(slot_count % CHUNK_PAGES == 0);
	ASSERT(slot_count < SLOT_NONE);
	return groups * (2 * GROUP_BYTES + 1);
}

/* The first index at or above @from whose bit is @value, or CHUNK_PAGES. */
static uint32_t next_with(const uint64_t *words, uint32_t from, bool value)
{
	const uint64_t flip = value ? 0 : UINT64_MAX;
	uint32_t index = from / 64;
	uint64_t word;

	if (from >= CHUNK_PAGES)
		return CHUNK_PAGES;
	word = (words[index] ^ flip) & (UINT64_MAX << from % 64);
	while (word == 0) {
		if (++index == GROUP_WORDS)
			return CHUNK_PAGES;
		word = words[index] ^ flip;
	}
	return index * 64 + (uint32_t)__builtin_ctzll(word);
}

int64_t slots_map_read(const void *map, uint64_t slot_count, uint64_t *bits)
{
	const uint64_t groups = slot_count / CHUNK_PAGES;
	const uint64_t *taken = map;
	const uint64_t *retired = taken + groups * GROUP_WORDS;
	const uint8_t *touched = (const uint8_t *)(retired + groups * GROUP_WORDS);
	int64_t count = 0;

	for (uint64_t group = 0; group < groups; group++) {
		if (!touched[group])
			continue;
		for (uint64_t i = group * GROUP_WORDS; i < (group + 1) * GROUP_WORDS; i++) {
			if ((retired[i] & ~taken[i]) != 0)
				return -EBADMSG;
			bits[i] = taken[i] & ~retired[i];
		}
		count += count_bits(&bits[group * GROUP_WORDS]);
	}
	return count;
}

static void recount(struct slots *slots)
{
	for (uint32_t local = 0; local < slots->group_count; local++) {
		if (slots->touched[group_of(slots, local)]) {
			const uint32_t taken = count_bits(taken_of(slots, local));
			const uint32_t retired = count_bits(retired_of(slots, local));

			slots->taken_count[local] = (uint16_t)taken;
			ASSERT(retired <= taken);
			count_add(&slots->retired_total, retired);
			count_add(&slots->used_total, (int64_t)taken - retired);
		}
		sort_group(slots, local);
	}
}

static int allocate(struct slots *slots)
{
	int result;

	slots->taken_count = calloc((size_t)slots->group_count + 1, sizeof(*slots->taken_count));
	slots->shortfall = calloc((size_t)slots->group_count + 1, sizeof(*slots->shortfall));
	if (!slots->taken_count || !slots->shortfall)
		return -ENOMEM;
	result = groupset_init(&slots->open, slots->group_count);
	if (result < 0)
		return result;
	result = groupset_init(&slots->empty, slots->group_count);
	if (result < 0)
		return result;
	result = groupset_init(&slots->dirty, slots->group_count);
	if (result < 0)
		return result;
	return groupset_init(&slots->held, slots->group_count);
}

int slots_new(void *map, uint64_t slot_count, uint32_t shard, uint32_t shard_count,
	struct slots **ret_slots)
{
	const uint64_t groups = slot_count / CHUNK_PAGES;
	struct slots *slots = aligned_alloc(CACHE_LINE, sizeof(*slots));
	int result;

	ASSERT(map && (uintptr_t)map % CACHE_LINE == 0);
	ASSERT(shard < shard_count);
	ASSERT(slots_map_bytes(slot_count) > 0);
	if (!slots)
		return -ENOMEM;
	memset(slots, 0, sizeof(*slots));
	slots->taken = map;
	slots->retired = slots->taken + groups * GROUP_WORDS;
	slots->touched = (uint8_t *)(slots->retired + groups * GROUP_WORDS);
	slots->shard = shard;
	slots->shard_count = shard_count;
	slots->group_count = (uint32_t)divide_up(groups - MIN(groups, shard), shard_count);
	result = allocate(slots);
	if (result < 0) {
		slots_free(slots);
		return result;
	}
	recount(slots);
	*ret_slots = slots;
	return 0;
}

void slots_free(struct slots *slots)
{
	if (!slots)
		return;
	ASSERT(slots->shard < slots->shard_count);
	groupset_done(&slots->open);
	groupset_done(&slots->empty);
	groupset_done(&slots->dirty);
	groupset_done(&slots->held);
	free(slots->taken_count);
	free(slots->shortfall);
	free(slots);
}

static uint32_t longest_bound(const struct slots *slots, uint32_t local)
{
	return CHUNK_PAGES - slots->shortfall[local];
}

static void set_longest_bound(struct slots *slots, uint32_t local, uint32_t length)
{
	slots->shortfall[local] = (uint16_t)(CHUNK_PAGES - MIN(length, CHUNK_PAGES));
}

/* The first run of @want free slots of a group, or its longest; of length 0 when it is full. */
static struct run find_run(struct slots *slots, uint32_t local, uint32_t want)
{
	const uint64_t *words = taken_of(slots, local);
	struct run best = {.group = local};
	uint32_t first;

	ASSERT(slots->taken_count[local] > 0);
	for (uint32_t at = 0; best.length < want; at = first + 1) {
		first = next_with(words, at, false);
		if (first == CHUNK_PAGES)
			break;
		const uint32_t length = MIN(next_with(words, first, true) - first, want);

		if (length > best.length)
			best = (struct run){.first = first, .length = length, .group = local};
		first += length;
	}
	ASSERT(best.length <= longest_bound(slots, local));
	if (best.length < want)
		set_longest_bound(slots, local, best.length);
	return best;
}

/* The longest run of the cursor's neighbourhood; see the theory. */
static struct run search_open(struct slots *slots, uint32_t want)
{
	struct run best = {.length = 0};
	uint32_t local = slots->cursor;

	for (uint32_t seen = 0; seen < SEARCH_GROUPS && best.length < want; seen++) {
		local = groupset_next(&slots->open, local);
		if (local == GROUPSET_NONE)
			break;
		/* An unused group stands whole: its words need not be read. */
		if (slots->taken_count[local] == 0)
			return (struct run){.group = local, .length = want};
		if (longest_bound(slots, local) > best.length) {
			const struct run run = find_run(slots, local, want);

			if (run.length > best.length)
				best = run;
		}
		local++;
	}
	return best;
}

static void occupy(struct slots *slots, const struct run *run)
{
	uint64_t *words = taken_of(slots, run->group);

	touch_group(slots, run->group);
	for (uint32_t i = run->first; i < run->first + run->length; i++) {
		ASSERT(!bit_get(words, i));
		bit_set(words, i);
	}
	slots->taken_count[run->group] = (uint16_t)(slots->taken_count[run->group] + run->length);
	count_add(&slots->used_total, run->length);
	sort_group(slots, run->group);
}

uint32_t slots_take(struct slots *slots, uint32_t want, uint32_t *ret_first)
{
	struct run run;

	ASSERT(want > 0);
	ASSERT(want <= CHUNK_PAGES);
	run = search_open(slots, want);
	if (run.length < want) {
		const uint32_t empty = groupset_next(&slots->empty, slots->cursor);

		if (empty != GROUPSET_NONE)
			run = (struct run){.group = empty, .length = want};
	}
	if (run.length == 0)
		return 0;
	ASSERT(run.first + run.length <= CHUNK_PAGES);
	occupy(slots, &run);
	slots->cursor = run.group;
	*ret_first = first_slot_of(slots, run.group) + run.first;
	return run.length;
}

void slots_put(struct slots *slots, uint32_t slot)
{
	const uint32_t local = local_of(slots, slot);

	ASSERT(slots_is_used(slots, slot));
	ASSERT(slots->taken_count[local] > 0);
	bit_clear(taken_of(slots, local), slot % CHUNK_PAGES);
	slots->taken_count[local]--;
	set_longest_bound(slots, local, 2 * longest_bound(slots, local) + 1);
	count_add(&slots->used_total, -1);
	sort_group(slots, local);
}

void slots_retire(struct slots *slots, uint32_t slot)
{
	ASSERT(slots_is_used(slots, slot));
	bit_set(retired_of(slots, local_of(slots, slot)), slot % CHUNK_PAGES);
	count_add(&slots->used_total, -1);
	count_add(&slots->retired_total, 1);
}

bool slots_is_used(const struct slots *slots, uint32_t slot)
{
	const uint32_t local = local_of(slots, slot);
	const uint32_t index = slot % CHUNK_PAGES;

	if (!slots->touched[group_of(slots, local)])
		return false;
	return bit_get(taken_of(slots, local), index) && !bit_get(retired_of(slots, local), index);
}

uint32_t slots_take_dirty_group(struct slots *slots)
{
	const uint32_t local = groupset_next(&slots->dirty, 0);

	if (local == GROUPSET_NONE)
		return SLOT_NONE;
	ASSERT(slots->taken_count[local] == 0);
	groupset_add(&slots->held, local);
	sort_group(slots, local);
	return first_slot_of(slots, local);
}

void slots_group_clean(struct slots *slots, uint32_t first_slot)
{
	const uint32_t local = local_of(slots, first_slot);

	ASSERT(first_slot % CHUNK_PAGES == 0);
	ASSERT(groupset_has(&slots->held, local));
	ASSERT(slots->taken_count[local] == 0);
	slots->touched[group_of(slots, local)] = 0;
	groupset_remove(&slots->held, local);
	sort_group(slots, local);
}

uint64_t slots_used(const struct slots *slots)
{
	return atomic_load_explicit(&slots->used_total, memory_order_relaxed);
}

uint64_t slots_retired(const struct slots *slots)
{
	return atomic_load_explicit(&slots->retired_total, memory_order_relaxed);
}

static uint32_t longest_run(const uint64_t *words)
{
	uint32_t longest = 0;
	uint32_t end;

	for (uint32_t first = next_with(words, 0, false); first < CHUNK_PAGES;
		first = next_with(words, end, false)) {
		end = next_with(words, first, true);
		longest = MAX(longest, end - first);
	}
	return longest;
}

static void check_group(const struct slots *slots, uint32_t local)
{
	const uint32_t count = slots->taken_count[local];
	const bool is_touched = slots->touched[group_of(slots, local)];
	const bool is_held = groupset_has(&slots->held, local);

	ASSERT(is_touched || count == 0);
	ASSERT(!is_held || count == 0);
	ASSERT(groupset_has(&slots->open, local) == (!is_held && count < CHUNK_PAGES));
	ASSERT(groupset_has(&slots->empty, local) == (!is_held && count == 0));
	ASSERT(groupset_has(&slots->dirty, local) == (!is_held && count == 0 && is_touched));
}

void slots_check(const struct slots *slots)
{
	uint64_t used = 0;
	uint64_t retired = 0;

	for (uint32_t local = 0; local < slots->group_count; local++) {
		check_group(slots, local);
		if (!slots->touched[group_of(slots, local)])
			continue;
		const uint64_t *taken = taken_of(slots, local);
		const uint64_t *broken = retired_of(slots, local);

		for (uint32_t i = 0; i < GROUP_WORDS; i++)
			ASSERT((broken[i] & ~taken[i]) == 0);
		ASSERT(count_bits(taken) == slots->taken_count[local]);
		ASSERT(longest_run(taken) <= longest_bound(slots, local));
		retired += count_bits(broken);
		used += count_bits(taken) - count_bits(broken);
	}
	ASSERT(used == slots_used(slots));
	ASSERT(retired == slots_retired(slots));
}
