/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A predecessor died at some instant; its table is as it was then. Every store it had made is here
 * (shared memory outlives a process), every punch it had begun has ended (they are made by threads,
 * which are gone), every guest still waits in its fault. What may still be under way is a write to
 * the store.
 *
 *   was       is now    why
 *   EMPTY     EMPTY     a page that was put there and not noted is found when it is staged
 *   RESIDENT  RESIDENT  its slot goes: nobody knows whether its mark was armed
 *   STAGED    RESIDENT  a zap may have been half done, so nobody knows whether it is mapped
 *   WRITING   RESIDENT  as STAGED; its slot is in limbo until the write has surely ended
 *   PUNCHING  SWAPPED   the slot is the truth: punched again, and asked whether it is gone
 *             EMPTY     the same without a slot
 *   SWAPPED   SWAPPED
 *   READING   RESIDENT  if it was copied in (copy_record.h): the guest may have changed it since,
 *                       or given it back
 *             SWAPPED   if not: what the page cache has is somebody else's, or not whole yet
 *   POISONED  POISONED
 *
 * Nothing that was in RAM leaves it without a new enable: its zap, its scan, its dwell.
 */
#include "engine/adopt.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/copy_record.h"
#include "engine/engine_priv.h"
#include "engine/vm.h"
#include "io/guest.h"
#include "io/slots.h"
#include "queue/base/assert.h"
#include "queue/base/probe.h"

/* Which chunks may hold anything: one page of words is one chunk. */
_Static_assert(CHUNK_PAGES * sizeof(page_word) == PAGE_BYTES, "a page of words is a chunk");

/* What cannot be told is asked again so often: a guess costs a page, an error a start. */
#define LOOKS_MAX 10u

/* As guest_has_page(). */
static int is_cached(const struct vm *vm, uint64_t page)
{
	const struct region *region = vm_region_of_chunk(vm, (uint32_t)(page / CHUNK_PAGES));
	int has_page = -EAGAIN;

	for (uint32_t look = 0; look < LOOKS_MAX && has_page < 0; look++)
		has_page = guest_has_page(region->memfd, vm_file_offset(vm, page));
	return has_page;
}

static void heal_punching(struct vm *vm, uint64_t page, page_word word)
{
	const struct region *region = vm_region_of_chunk(vm, (uint32_t)(page / CHUNK_PAGES));
	bool is_held;

	(void)guest_punch(region->memfd, vm_file_offset(vm, page), PAGE_BYTES);
	/* When it cannot be told, held is the safe answer: the slot is the truth either way. */
	is_held = is_cached(vm, page) != 0;
	if (page_has_slot(word))
		page_put(&vm->table, page,
			page_with_slot(PAGE_SWAPPED, page_slot_of(word), is_held ? PAGE_STUCK : 0));
	else
		page_put(&vm->table, page, page_plain(PAGE_EMPTY));
}

static void heal_reading(const struct shard *shard, struct vm *vm, uint64_t page, page_word word)
{
	if (copy_record_has(vm_copy_record(vm, shard->id), page))
		page_put(&vm->table, page, page_plain(PAGE_RESIDENT));
	else
		page_put(&vm->table, page,
			page_with_slot(PAGE_SWAPPED, page_slot_of(word), word & PAGE_STUCK));
}

/* A hint, but one that is followed. */
static bool has_good_link(const struct page_table *table, uint64_t page, page_word word)
{
	return page + (uint64_t)(int64_t)page_link_of(word) < table->page_count;
}

/* Whether nothing is half done in a run of pages, and every link leads to a page. */
static bool is_at_rest(const struct page_table *table, uint64_t page, uint32_t count)
{
	const page_word word = page_load(table, page);

	if (!has_good_link(table, page, word) || !has_good_link(table, page + count - 1, word))
		return false;
	switch (page_state_of(word)) {
	case PAGE_EMPTY:
	case PAGE_SWAPPED:
	case PAGE_POISONED: return true;
	case PAGE_RESIDENT: return !page_has_slot(word);
	case PAGE_STAGED:
	case PAGE_WRITING:
	case PAGE_PUNCHING:
	case PAGE_READING:
	case PAGE_STATES: break;
	}
	return false;
}

static void heal_page(const struct shard *shard, struct vm *vm, uint64_t page)
{
	const page_word word = page_load(&vm->table, page);

	if (!has_good_link(&vm->table, page, word))
		page_set_link(&vm->table, page, 0);
	switch (page_state_of(word)) {
	case PAGE_RESIDENT:
		if (page_has_slot(word))
			page_put(&vm->table, page, page_plain(PAGE_RESIDENT));
		break;
	case PAGE_STAGED:
	case PAGE_WRITING: page_put(&vm->table, page, page_plain(PAGE_RESIDENT)); break;
	case PAGE_PUNCHING: heal_punching(vm, page, word); break;
	case PAGE_READING: heal_reading(shard, vm, page, word); break;
	case PAGE_EMPTY:
	case PAGE_SWAPPED:
	case PAGE_POISONED:
	case PAGE_STATES: break;
	}
}

static uint64_t slot_count(const struct engine *engine)
{
	return engine->store.size_bytes / PAGE_BYTES;
}

/*
 * @count slots from @slot on are in limbo no more. False: one was not, or is of a group that
 * another shard hands out.
 */
static bool claim_slots(const struct shard *shard, uint64_t slot, uint32_t count)
{
	const struct engine *engine = shard->engine;

	if (slot + count > slot_count(engine))
		return false;
	while (count > 0) {
		const uint32_t within = slot % 64;
		const uint32_t taken = MIN(64 - within, count);
		const uint64_t ones = taken == 64 ? UINT64_MAX : ((uint64_t)1 << taken) - 1;
		uint64_t *limbo = &engine->limbo[slot / 64];

		if (slot / CHUNK_PAGES % engine->shard_count != shard->id ||
			(*limbo >> within & ones) != ones)
			return false;
		*limbo &= ~(ones << within);
		slot += taken;
		count -= taken;
	}
	return true;
}

/* Behind the last page of a region a chunk has none. Nothing of what is not a word is acted on. */
static int look_at_chunk(const struct vm *vm, uint64_t first, uint64_t end, bool *ret_is_at_rest)
{
	bool is_resting = true;
	uint32_t run;

	for (uint64_t page = end; page < first + CHUNK_PAGES; page++)
		if (page_load(&vm->table, page) != page_plain(PAGE_EMPTY))
			return -EBADMSG;
	for (uint64_t page = first; page < end; page += run) {
		run = page_run(&vm->table, page, end);
		if (!page_word_is_valid(page_load(&vm->table, page)))
			return -EBADMSG;
		is_resting = is_resting && is_at_rest(&vm->table, page, run);
	}
	*ret_is_at_rest = is_resting;
	return 0;
}

static bool claim_slots_of_chunk(
	const struct shard *shard, const struct vm *vm, uint64_t first, uint64_t end)
{
	const uint32_t slots = atomic_load(&page_chunk(&vm->table, first)->slots);
	uint32_t run;

	for (uint64_t page = first; slots > 0 && page < end; page += run) {
		const page_word word = page_load(&vm->table, page);

		run = page_run(&vm->table, page, end);
		if (page_has_slot(word) && !claim_slots(shard, page_slot_of(word), run))
			return false;
	}
	atomic_fetch_sub_explicit(&shard->engine->limbo_count, slots, memory_order_relaxed);
	return true;
}

static int adopt_chunk(const struct shard *shard, struct vm *vm, uint32_t chunk)
{
	const uint64_t first = (uint64_t)chunk * CHUNK_PAGES;
	const uint32_t pages = vm_chunk_pages(vm, chunk);
	bool is_resting = false;
	int error = look_at_chunk(vm, first, first + pages, &is_resting);

	if (error)
		return error;
	for (uint64_t page = first; !is_resting && page < first + pages; page++)
		heal_page(shard, vm, page);
	PROBE(adopt, healed);
	page_table_recount(&vm->table, shard_stats(shard, vm), first, pages);
	return claim_slots_of_chunk(shard, vm, first, first + pages) ? 0 : -EBADMSG;
}

/* Every chunk of the shard that ever had a word stored. */
static int adopt_pages_of(const struct shard *shard, struct vm *vm)
{
	const struct shared *words = &vm->table.words_memory;
	uint64_t end = 0;
	int error = 0;

	while (!error && end < words->size_bytes) {
		uint64_t offset;

		error = shared_next_data(words, end, &offset, &end);
		for (; !error && offset < end; offset += PAGE_BYTES)
			if (vm_owner(vm, (uint32_t)(offset / PAGE_BYTES)) == shard->id)
				error = adopt_chunk(shard, vm, (uint32_t)(offset / PAGE_BYTES));
	}
	PROBE(adopt, counted);
	if (error && error != -ENXIO)
		return error;
	/* No word is READING any more, so it says nothing. */
	copy_record_end(vm_copy_record(vm, shard->id));
	return 0;
}

int adopt_pages(const struct shard *shard)
{
	const struct engine *engine = shard->engine;
	int error = 0;

	shard_assert_owner(shard);
	for (uint32_t i = 0; !error && i < engine->adopted_count; i++)
		error = adopt_pages_of(shard, engine->adopted[i]);
	return error;
}

/*
 * In limbo are slots of writes that may be under way, whether their page still waited for them or
 * had left, and of moves that were cut off in between. They stay in use in the map, so that a
 * successor of ours finds them as well.
 */
int adopt_slots(struct engine *engine)
{
	int64_t used;

	ASSERT(engine->shard == NULL);
	ASSERT(engine->limbo == NULL);
	engine->limbo = calloc(BITMAP_WORDS(slot_count(engine)), sizeof(*engine->limbo));
	if (!engine->limbo)
		return -ENOMEM;
	used = slots_map_read(engine->slot_map.memory, slot_count(engine), engine->limbo);
	if (used < 0)
		return (int)used;
	engine->limbo_count = (uint32_t)used;
	return 0;
}

uint32_t adopt_next_limbo(const struct engine *engine, uint32_t from)
{
	const uint64_t count = slot_count(engine);

	while (from < count && !bit_get(engine->limbo, from))
		from = engine->limbo[from / 64] >> from % 64 == 0 ? (from / 64 + 1) * 64 : from + 1;
	return from < count ? from : SLOT_NONE;
}
