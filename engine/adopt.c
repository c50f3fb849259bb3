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
 *   READING   RESIDENT  if the page cache has it: a page is only ever copied in whole, and the
 *                       guest may have changed it since
 *             SWAPPED   if not, or if what the page cache has was not whole yet (PAGE_STUCK)
 *   POISONED  POISONED
 *
 * Nothing that was in RAM leaves it without a new enable: its zap, its scan, its dwell.
 */
#include "engine/adopt.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/engine_priv.h"
#include "engine/vm.h"
#include "io/guest.h"
#include "io/slots.h"
#include "queue/base/assert.h"
#include "queue/base/probe.h"

/* Which chunks may hold anything: one page of words is one chunk. */
_Static_assert(CHUNK_PAGES * sizeof(page_word) == PAGE_BYTES, "a page of words is a chunk");

/* The page cache is asked again so often when the kernel says so. */
#define LOOKS_MAX 1000u

typedef int chunk_visit(struct vm *vm, uint32_t chunk, void *context);

/* Every chunk that ever had a word stored. */
static int each_known_chunk(struct vm *vm, chunk_visit *visit, void *context)
{
	const struct shared *words = &vm->table.words_memory;
	uint64_t offset = 0;

	while (offset < words->size_bytes) {
		uint64_t start;
		uint64_t end;
		int error = shared_next_data(words, offset, &start, &end);

		if (error)
			return error == -ENXIO ? 0 : error;
		for (offset = start; offset < end; offset += PAGE_BYTES) {
			error = visit(vm, (uint32_t)(offset / PAGE_BYTES), context);
			if (error)
				return error;
		}
	}
	return 0;
}

static void move(struct vm *vm, uint64_t page, page_word to)
{
	page_move(&vm->table, &vm->stats[vm_owner(vm, (uint32_t)(page / CHUNK_PAGES))], page, to);
}

/* Whether the page cache holds the page: 1, 0 or -errno. */
static int is_cached(const struct vm *vm, uint64_t page)
{
	uint64_t held[BITMAP_WORDS(CHUNK_PAGES)] = {0};
	int error = -EAGAIN;

	for (uint32_t try = 0; try < LOOKS_MAX && error == -EAGAIN; try++)
		error = guest_cached(vm_alias(vm, page), 1, held);
	return error ? error : bit_get(held, 0);
}

static void heal_punching(struct vm *vm, uint64_t page, page_word word)
{
	const struct region *region = vm_region_of_chunk(vm, (uint32_t)(page / CHUNK_PAGES));
	bool is_held;

	(void)guest_punch(region->memfd, vm_file_offset(vm, page), PAGE_BYTES);
	/* When it cannot be told, held is the safe answer: the slot is the truth either way. */
	is_held = is_cached(vm, page) != 0;
	if (page_has_slot(word))
		move(vm, page,
			page_with_slot(PAGE_SWAPPED, page_slot_of(word), is_held ? PAGE_STUCK : 0));
	else
		move(vm, page, page_plain(PAGE_EMPTY));
}

static int heal_reading(struct vm *vm, uint64_t page, page_word word)
{
	const int cached = page_is_stuck(word) ? 0 : is_cached(vm, page);

	if (cached < 0)
		return cached;
	if (cached > 0)
		move(vm, page, page_plain(PAGE_RESIDENT));
	else
		move(vm, page, page_with_slot(PAGE_SWAPPED, page_slot_of(word), word & PAGE_STUCK));
	return 0;
}

static int heal_page(struct vm *vm, uint64_t page)
{
	const page_word word = page_load(&vm->table, page);

	/* A hint, but one that is followed. */
	if (page + (uint64_t)(int64_t)page_link_of(word) >= vm->table.page_count)
		page_set_link(&vm->table, page, 0);
	switch (page_state_of(word)) {
	case PAGE_RESIDENT:
	case PAGE_STAGED:
	case PAGE_WRITING: move(vm, page, page_plain(PAGE_RESIDENT)); break;
	case PAGE_PUNCHING: heal_punching(vm, page, word); break;
	case PAGE_READING: return heal_reading(vm, page, word);
	case PAGE_EMPTY:
	case PAGE_SWAPPED:
	case PAGE_POISONED:
	case PAGE_STATES: break;
	}
	return 0;
}

/* Behind the last page of a region a chunk has none. */
static bool is_empty_from(const struct vm *vm, uint64_t first, uint32_t from)
{
	while (from < CHUNK_PAGES && page_load(&vm->table, first + from) == page_plain(PAGE_EMPTY))
		from++;
	return from == CHUNK_PAGES;
}

static int heal_chunk(struct vm *vm, uint32_t chunk, void *context)
{
	const uint64_t first = (uint64_t)chunk * CHUNK_PAGES;
	const uint32_t pages = vm_chunk_pages(vm, chunk);
	int error = 0;

	(void)context;
	if (!is_empty_from(vm, first, pages) ||
		!page_table_recount(&vm->table, &vm->stats[vm_owner(vm, chunk)], first, pages))
		return -EBADMSG;
	for (uint32_t i = 0; !error && i < pages; i++)
		error = heal_page(vm, first + i);
	PROBE(adopt, healed);
	return error;
}

int adopt_reconcile(struct vm *vm)
{
	ASSERT(vm->engine->shard == NULL);
	return each_known_chunk(vm, heal_chunk, NULL);
}

/* Marks the slots of a chunk's pages. */
static int see_slots(struct vm *vm, uint32_t chunk, void *context)
{
	const uint64_t first = (uint64_t)chunk * CHUNK_PAGES;
	const uint64_t slot_count = vm->engine->store.size_bytes / PAGE_BYTES;
	uint64_t *seen = context;

	if (atomic_load(&vm->table.chunks[chunk].slots) == 0)
		return 0;
	for (uint64_t page = first; page < first + CHUNK_PAGES; page++) {
		const page_word word = page_load(&vm->table, page);
		const uint32_t slot = page_slot_of(word);

		if (!page_has_slot(word))
			continue;
		if (!slots_map_is_used(vm->engine->slot_map.memory, slot_count, slot) ||
			bit_get(seen, slot))
			return -EBADMSG;
		bit_set(seen, slot);
	}
	return 0;
}

/*
 * Slots in use that no page has: of writes that may be under way, whether their page still waited
 * for them or had left, and of moves that were cut off in between. They stay in use in the map, so
 * that a successor of ours finds them as well.
 */
static int find_limbo(struct engine *engine, const uint64_t *seen)
{
	const uint64_t slot_count = engine->store.size_bytes / PAGE_BYTES;
	const void *map = engine->slot_map.memory;

	for (uint32_t slot = slots_map_next_used(map, slot_count, 0); slot < slot_count;
		slot = slots_map_next_used(map, slot_count, slot + 1)) {
		uint32_t *slots;

		if (bit_get(seen, slot))
			continue;
		slots = reallocarray(
			engine->limbo, (size_t)engine->limbo_count + 1, sizeof(*slots));
		if (!slots)
			return -ENOMEM;
		engine->limbo = slots;
		engine->limbo[engine->limbo_count++] = slot;
	}
	return 0;
}

int adopt_slots(struct engine *engine, struct vm *const *vms, uint32_t count)
{
	const uint64_t slot_count = engine->store.size_bytes / PAGE_BYTES;
	uint64_t *seen = calloc(BITMAP_WORDS(slot_count), sizeof(*seen));
	int error = 0;

	ASSERT(engine->shard == NULL);
	if (!seen)
		return -ENOMEM;
	if (!slots_map_is_sound(engine->slot_map.memory, slot_count))
		error = -EBADMSG;
	for (uint32_t i = 0; !error && i < count; i++)
		error = each_known_chunk(vms[i], see_slots, seen);
	if (!error)
		error = find_limbo(engine, seen);
	free(seen);
	return error;
}
