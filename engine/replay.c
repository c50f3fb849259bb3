/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/replay.h"

#include "engine/limits.h"
#include "engine/page_table.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

/* Faults that came as foretold before anything is brought. */
#define CONFIRMED_MIN 2u
/*
 * Links followed over pages that are not swapped, each a cache miss: few for a chain that nothing
 * speaks for, as every disk fault pays for them.
 */
#define SKIP_NEW_MAX 4u
#define SKIP_MAX     64u
/* Faults in a row beside a replay that brings pages after which it is no more under way. */
#define STRAYS_MAX 16u
/*
 * Pages beyond `next` where a fault still counts as on the chain: vCPUs overtake each other. With 8
 * threads that share an order, 90 % of the pages are read ahead with it, 20 % without.
 */
#define NEAR_MAX 8u

static uint32_t pages_ahead(const struct replay *replay)
{
	return replay->brought - replay->confirmed;
}

static uint32_t window_of(const struct replay *replay)
{
	return replay->confirmed < CONFIRMED_MIN ? 0 : MIN(replay->confirmed, REPLAY_PAGES_MAX);
}

/* Pages that may be brought; 0 as long as there are so few that each would cost a read. */
static uint32_t room_of(const struct replay *replay)
{
	const uint32_t window = window_of(replay);
	const uint32_t ahead = pages_ahead(replay);
	const uint32_t room = window - MIN(window, ahead);

	return room >= MIN(window / 2, FAULT_READ_PAGES) ? room : 0;
}

static bool may_go_on(const struct replay *replay)
{
	return replay->next != REPLAY_NONE && room_of(replay) > 0;
}

static void set_link(struct page_table *table, uint64_t from, uint64_t to)
{
	const int64_t distance = (int64_t)(to - from);
	const bool is_in_reach = distance >= -PAGE_LINK_MAX && distance <= PAGE_LINK_MAX;

	page_set_link(table, from, is_in_reach ? (int32_t)distance : 0);
}

static uint64_t follow(const struct page_table *table, uint64_t page)
{
	const int32_t link = page_link_of(page_load(table, page));

	if (link == 0)
		return REPLAY_NONE;
	page += (uint64_t)(int64_t)link;
	ASSERT(page < table->page_count);
	return page;
}

static bool is_swapped(const struct page_table *table, uint64_t page)
{
	return page_state_of(page_load(table, page)) == PAGE_SWAPPED;
}

static void find_next(struct replay *replay, const struct page_table *table)
{
	const uint32_t steps = window_of(replay) > 0 ? SKIP_MAX : SKIP_NEW_MAX;

	replay->next = replay->tail;
	for (uint32_t i = 0; i < steps && replay->next != REPLAY_NONE; i++) {
		replay->next = follow(table, replay->next);
		if (replay->next != REPLAY_NONE && is_swapped(table, replay->next))
			return;
	}
	replay->next = REPLAY_NONE;
}

/* Whether @page is one of the few after the one that the replay expects. */
static bool is_near(const struct replay *replay, const struct page_table *table, uint64_t page)
{
	uint64_t at = replay->next;

	for (uint32_t i = 0; i < NEAR_MAX && at != REPLAY_NONE; i++) {
		at = follow(table, at);
		if (at == page)
			return true;
	}
	return false;
}

/* The replay that expects a fault on @page, the one used last before older ones. */
static struct replay *find(struct replays *replays, const struct page_table *table, uint64_t page)
{
	for (uint32_t i = 0; i < REPLAYS_MAX; i++) {
		struct replay *replay = &replays->replay[(replays->last + i) % REPLAYS_MAX];

		if (replay->id != 0 && replay->next == page)
			return replay;
	}
	/* Of those that nothing speaks for only the last: each look is cache misses. */
	for (uint32_t i = 0; i < REPLAYS_MAX; i++) {
		struct replay *replay = &replays->replay[(replays->last + i) % REPLAYS_MAX];

		if (replay->id != 0 && (i == 0 || pages_ahead(replay) > 0) &&
			is_near(replay, table, page))
			return replay;
	}
	return NULL;
}

static struct replay *find_id(struct replays *replays, uint32_t id)
{
	ASSERT(id != 0);
	for (uint32_t i = 0; i < REPLAYS_MAX; i++)
		if (replays->replay[i].id == id)
			return &replays->replay[i];
	return NULL;
}

static void use(struct replays *replays, const struct replay *replay)
{
	replays->last = (uint32_t)(replay - replays->replay);
	replays->replay[replays->last].age = ++replays->clock;
}

/* Where a new replay may begin: the last one's place if it has ended, or the one longest unused. */
static struct replay *give_up_one(struct replays *replays)
{
	struct replay *oldest = &replays->replay[replays->last];

	if (oldest->id == 0 || oldest->next == REPLAY_NONE)
		return oldest;
	for (uint32_t i = 0; i < REPLAYS_MAX; i++) {
		struct replay *replay = &replays->replay[i];

		if (replay->id == 0)
			return replay;
		/* by difference: the clock may wrap */
		if (replays->clock - replay->age > replays->clock - oldest->age)
			oldest = replay;
	}
	return oldest;
}

static struct replay *begin(struct replays *replays, struct page_table *table)
{
	struct replay *replay = give_up_one(replays);
	uint32_t id = replays->clock + 1;

	/* What it expected is still out, so it misled, and what it brought last was not wanted. */
	if (replay->id != 0 && pages_ahead(replay) > 0 && replay->next != REPLAY_NONE &&
		is_swapped(table, replay->next))
		page_set_link(table, replay->seen, 0);
	if (id == 0)
		id = 1;
	*replay = (struct replay){.id = id, .next = REPLAY_NONE};
	return replay;
}

/* A replay brings pages, and what it expects has not stayed away for long. */
static bool is_under_way(const struct replays *replays)
{
	for (uint32_t i = 0; i < REPLAYS_MAX; i++) {
		const struct replay *replay = &replays->replay[i];

		if (pages_ahead(replay) > 0 && replay->next != REPLAY_NONE &&
			replays->clock - replay->age < STRAYS_MAX)
			return true;
	}
	return false;
}

/* The fault on @page follows what the last replay brought. */
static void record(struct replays *replays, struct page_table *table, uint64_t page)
{
	const struct replay *last = &replays->replay[replays->last];

	if (last->id == 0)
		return;
	if (page_link_of(page_load(table, last->tail)) != 0 && is_under_way(replays))
		return;
	set_link(table, last->tail, page);
}

bool replay_fault(struct replays *replays, struct page_table *table, uint64_t page, uint32_t count)
{
	struct replay *replay = find(replays, table, page);

	ASSERT(count > 0);
	ASSERT(!is_swapped(table, page));
	/* The chain of a replay leads to its fault already. */
	if (!replay || replay != &replays->replay[replays->last])
		record(replays, table, page);
	if (replay)
		replay->brought++;
	else
		replay = begin(replays, table);
	replay->confirmed = replay->brought;
	replay->seen = page;
	for (; count > 1; count--, page++)
		set_link(table, page, page + 1);
	replay->tail = page;
	find_next(replay, table);
	use(replays, replay);
	return may_go_on(replay);
}

bool replay_seen(struct replays *replays, uint32_t id, uint32_t at, uint64_t page)
{
	struct replay *replay = find_id(replays, id);

	if (!replay)
		return false;
	/* by difference: both may wrap. Faults of several vCPUs come in any order. */
	if (at - replay->confirmed - 1 < pages_ahead(replay)) {
		replay->confirmed = at;
		replay->seen = page;
	}
	use(replays, replay);
	return may_go_on(replay);
}

/* Pages from @page on that the chain has in a row and whose slots follow each other. */
static uint32_t count_run(const struct page_table *table, uint64_t page, uint32_t wanted)
{
	const uint32_t slot = page_slot_of(page_load(table, page));
	const uint32_t in_chunk = CHUNK_PAGES - (uint32_t)(page % CHUNK_PAGES);
	uint32_t count = 1;

	for (; count < MIN(wanted, in_chunk); count++) {
		const page_word word = page_load(table, page + count);

		if (page_link_of(page_load(table, page + count - 1)) != 1 ||
			page_state_of(word) != PAGE_SWAPPED || page_slot_of(word) != slot + count)
			break;
	}
	return count;
}

bool replay_next(
	struct replays *replays, const struct page_table *table, struct replay_run *ret_run)
{
	for (uint32_t i = 0; i < REPLAYS_MAX; i++) {
		struct replay *replay = &replays->replay[i];

		if (replay->id == 0 || !may_go_on(replay))
			continue;
		/* Brought by something else meanwhile. */
		if (!is_swapped(table, replay->next))
			find_next(replay, table);
		if (replay->next == REPLAY_NONE)
			continue;
		*ret_run = (struct replay_run){
			.page = replay->next,
			.count = count_run(
				table, replay->next, MIN(room_of(replay), FAULT_READ_PAGES)),
			.id = replay->id,
			.at = replay->brought + 1,
		};
		return true;
	}
	return false;
}

void replay_brought(
	struct replays *replays, const struct page_table *table, const struct replay_run *run)
{
	struct replay *replay = find_id(replays, run->id);

	ASSERT(replay != NULL);
	ASSERT(replay->next == run->page);
	ASSERT(pages_ahead(replay) + run->count <= REPLAY_PAGES_MAX);
	replay->brought += run->count;
	replay->tail = run->page + run->count - 1;
	find_next(replay, table);
}

void replay_cut(struct replays *replays, const struct replay_run *run)
{
	struct replay *replay = find_id(replays, run->id);

	ASSERT(replay != NULL);
	replay->next = REPLAY_NONE;
}
