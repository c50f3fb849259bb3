/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/shared.h"
#include "io/slots.h"
#include "queue/base/bits.h"

#define GROUPS	   64u
#define SLOTS	   (GROUPS * CHUNK_PAGES)
#define OPERATIONS 1500000u

/* One store of one or more shards, all stepped by one thread. */
struct store {
	struct shared map;
	struct slots *shards[4];
	uint32_t shard_count;
	uint64_t slot_count;
};

static void open_shards(struct store *store)
{
	for (uint32_t i = 0; i < store->shard_count; i++)
		cr_assert_eq(slots_new(store->map.memory, store->slot_count, i, store->shard_count,
				     &store->shards[i]),
			0);
}

static void close_shards(struct store *store)
{
	for (uint32_t i = 0; i < store->shard_count; i++)
		slots_free(store->shards[i]);
}

static struct store new_store(uint64_t slot_count, uint32_t shard_count)
{
	struct store store = {.shard_count = shard_count, .slot_count = slot_count};

	cr_assert_eq(shared_open("slots", slots_map_bytes(slot_count), &store.map), 0);
	open_shards(&store);
	return store;
}

static void free_store(struct store *store)
{
	close_shards(store);
	shared_close(&store->map);
}

static void fill(struct slots *slots)
{
	uint32_t first;

	while (slots_take(slots, CHUNK_PAGES, &first) > 0)
		;
}

Test(slots, an_empty_store_gives_a_whole_chunk_in_one_run)
{
	struct store store = new_store(SLOTS, 1);
	uint32_t first = 0;

	const uint32_t length = slots_take(store.shards[0], CHUNK_PAGES, &first);

	cr_assert_eq(length, CHUNK_PAGES);
	cr_assert_eq(first % CHUNK_PAGES, 0);
	cr_assert_eq(slots_used(store.shards[0]), CHUNK_PAGES);
	free_store(&store);
}

Test(slots, successive_single_takes_are_neighbours)
{
	struct store store = new_store(SLOTS, 1);
	uint32_t previous = 0;
	uint32_t next = 0;

	cr_assert_eq(slots_take(store.shards[0], 1, &previous), 1);
	for (uint32_t i = 0; i < 100; i++) {
		cr_assert_eq(slots_take(store.shards[0], 1, &next), 1);
		cr_assert_eq(next, previous + 1);
		previous = next;
	}
	free_store(&store);
}

Test(slots, a_full_store_gives_nothing_until_a_slot_comes_back)
{
	struct store store = new_store(SLOTS, 1);
	uint32_t first = 77;

	fill(store.shards[0]);
	cr_assert_eq(slots_used(store.shards[0]), SLOTS);
	cr_assert_eq(slots_take(store.shards[0], 1, &first), 0);
	cr_assert_eq(first, 77);

	slots_put(store.shards[0], 12345);
	cr_assert_eq(slots_take(store.shards[0], CHUNK_PAGES, &first), 1);

	cr_assert_eq(first, 12345);
	slots_check(store.shards[0]);
	free_store(&store);
}

Test(slots, a_run_that_fits_whole_is_preferred_to_a_nearer_piece)
{
	struct store store = new_store(2 * CHUNK_PAGES, 1);
	uint32_t first;

	fill(store.shards[0]);
	for (uint32_t i = 0; i < 5; i++)
		slots_put(store.shards[0], 100 + i);
	for (uint32_t i = 0; i < 8; i++)
		slots_put(store.shards[0], CHUNK_PAGES + 40 + i);

	cr_assert_eq(slots_take(store.shards[0], 8, &first), 8);

	cr_assert_eq(first, CHUNK_PAGES + 40);
	cr_assert_eq(slots_take(store.shards[0], 8, &first), 5);
	cr_assert_eq(first, 100);
	free_store(&store);
}

Test(slots, the_longest_run_is_given_when_none_fits_whole)
{
	struct store store = new_store(CHUNK_PAGES, 1);
	uint32_t first;

	fill(store.shards[0]);
	for (uint32_t i = 0; i < 12; i++)
		if (i != 1 && i != 9)
			slots_put(store.shards[0], 200 + i); /* runs of 1, 7 and 2 */

	cr_assert_eq(slots_take(store.shards[0], 16, &first), 7);

	cr_assert_eq(first, 202);
	free_store(&store);
}

Test(slots, an_empty_group_is_found_behind_any_number_of_broken_ones)
{
	struct store store = new_store(SLOTS, 1);
	uint32_t first;

	fill(store.shards[0]);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		if (slot / CHUNK_PAGES == GROUPS / 2 || slot % 2 == 0)
			slots_put(store.shards[0], slot);

	cr_assert_eq(slots_take(store.shards[0], CHUNK_PAGES, &first), CHUNK_PAGES);

	cr_assert_eq(first, GROUPS / 2 * CHUNK_PAGES);
	free_store(&store);
}

Test(slots, a_retired_slot_never_comes_back)
{
	struct store store = new_store(CHUNK_PAGES, 1);
	uint32_t first;

	fill(store.shards[0]);
	slots_retire(store.shards[0], 7);
	for (uint32_t slot = 0; slot < CHUNK_PAGES; slot++)
		if (slot != 7)
			slots_put(store.shards[0], slot);
	fill(store.shards[0]);

	cr_assert_not(slots_is_used(store.shards[0], 7));
	cr_assert_eq(slots_used(store.shards[0]), CHUNK_PAGES - 1);
	cr_assert_eq(slots_retired(store.shards[0]), 1);
	cr_assert_eq(slots_take(store.shards[0], 1, &first), 0);
	slots_check(store.shards[0]);
	free_store(&store);
}

Test(slots, giving_back_a_free_slot_is_an_assertion, .signal = SIGABRT)
{
	struct store store = new_store(SLOTS, 1);

	slots_put(store.shards[0], 3);
}

Test(slots, giving_back_a_slot_of_another_shard_is_an_assertion, .signal = SIGABRT)
{
	struct store store = new_store(SLOTS, 2);
	uint32_t first;

	cr_assert_eq(slots_take(store.shards[0], 1, &first), 1);

	slots_put(store.shards[1], first);
}

Test(slots, shards_own_every_group_once)
{
	/* 7 groups over 3 shards: 3 + 2 + 2 */
	struct store store = new_store(7 * CHUNK_PAGES, 3);
	uint64_t owned = 0;

	for (uint32_t i = 0; i < 3; i++) {
		fill(store.shards[i]);
		cr_assert_eq(slots_used(store.shards[i]), (i == 0 ? 3 : 2) * CHUNK_PAGES);
		owned += slots_used(store.shards[i]);
		slots_check(store.shards[i]);
	}

	cr_assert_eq(owned, 7 * CHUNK_PAGES);
	free_store(&store);
}

Test(slots, a_store_with_fewer_groups_than_shards_leaves_some_without)
{
	struct store store = new_store(2 * CHUNK_PAGES, 4);
	uint32_t first;

	cr_assert_eq(slots_take(store.shards[1], 1, &first), 1);
	cr_assert_eq(slots_take(store.shards[2], 1, &first), 0);
	cr_assert_eq(slots_take_dirty_group(store.shards[3]), SLOT_NONE);
	slots_check(store.shards[3]);
	free_store(&store);
}

Test(slots, a_group_is_dirty_once_used_and_free_again_and_only_until_cleaned)
{
	struct store store = new_store(SLOTS, 1);
	struct slots *slots = store.shards[0];
	uint32_t first;

	cr_assert_eq(slots_take_dirty_group(slots), SLOT_NONE);
	cr_assert_eq(slots_take(slots, 2, &first), 2);
	cr_assert_eq(slots_take_dirty_group(slots), SLOT_NONE);
	slots_put(slots, first);
	cr_assert_eq(slots_take_dirty_group(slots), SLOT_NONE);
	slots_put(slots, first + 1);

	const uint32_t dirty = slots_take_dirty_group(slots);

	cr_assert_eq(dirty, first / CHUNK_PAGES * CHUNK_PAGES);
	cr_assert_eq(slots_take_dirty_group(slots), SLOT_NONE);
	slots_group_clean(slots, dirty);
	cr_assert_eq(slots_take_dirty_group(slots), SLOT_NONE);
	slots_check(slots);
	free_store(&store);
}

Test(slots, a_group_whose_space_is_being_given_back_is_not_handed_out)
{
	struct store store = new_store(CHUNK_PAGES, 1);
	struct slots *slots = store.shards[0];
	uint32_t first = 0;

	cr_assert_eq(slots_take(slots, 1, &first), 1);
	slots_put(slots, first);
	const uint32_t dirty = slots_take_dirty_group(slots);
	const uint32_t while_held = slots_take(slots, 1, &first);
	slots_group_clean(slots, dirty);
	const uint32_t after = slots_take(slots, 1, &first);

	cr_assert_eq(while_held, 0);
	cr_assert_eq(after, 1);
	free_store(&store);
}

Test(slots, a_group_with_a_retired_slot_never_gives_its_space_back)
{
	struct store store = new_store(CHUNK_PAGES, 1);
	uint32_t first;

	cr_assert_eq(slots_take(store.shards[0], 2, &first), 2);
	slots_retire(store.shards[0], first);
	slots_put(store.shards[0], first + 1);

	cr_assert_eq(slots_take_dirty_group(store.shards[0]), SLOT_NONE);
	free_store(&store);
}

Test(slots, an_untouched_store_of_a_tebibyte_costs_no_map)
{
	struct store store = new_store(GIB / 4, 2);
	struct stat status;

	for (uint32_t i = 0; i < 2; i++)
		slots_check(store.shards[i]);
	cr_assert_eq(fstat(store.map.fd, &status), 0);

	/* the touched bytes were read, which makes them dense: one a group */
	cr_assert_leq((uint64_t)status.st_blocks * 512, GIB / 4 / CHUNK_PAGES + 2 * PAGE_BYTES);
	free_store(&store);
}

/* The model: what each slot is, kept apart from the code under test. */
enum model_state { MODEL_FREE, MODEL_USED, MODEL_RETIRED };

struct model {
	struct store store;
	uint8_t state[SLOTS];
	bool was_used[GROUPS]; /* since cleaned */
	uint32_t held[4];
	uint32_t in_use[SLOTS];
	uint32_t place[SLOTS];
	uint32_t in_use_count;
	uint32_t retired_count;
	uint64_t random;
};

static uint64_t next_random(struct model *model)
{
	model->random ^= model->random << 13;
	model->random ^= model->random >> 7;
	model->random ^= model->random << 17;
	return model->random;
}

static void forget(struct model *model, uint32_t slot)
{
	const uint32_t last = model->in_use[--model->in_use_count];

	model->in_use[model->place[slot]] = last;
	model->place[last] = model->place[slot];
}

static bool is_held(const struct model *model, uint32_t slot)
{
	const uint32_t first = slot / CHUNK_PAGES * CHUNK_PAGES;

	for (uint32_t i = 0; i < model->store.shard_count; i++)
		if (model->held[i] == first)
			return true;
	return false;
}

static bool shard_has_free(const struct model *model, uint32_t shard)
{
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		if (slot / CHUNK_PAGES % model->store.shard_count == shard &&
			model->state[slot] == MODEL_FREE && !is_held(model, slot))
			return true;
	return false;
}

static void model_take(struct model *model, uint32_t shard)
{
	const uint64_t random = next_random(model);
	const uint32_t want = random % 3 ? 1 + (uint32_t)(random >> 8) % 16
					 : 1 + (uint32_t)(random >> 8) % CHUNK_PAGES;
	uint32_t first = SLOT_NONE;
	const uint32_t length = slots_take(model->store.shards[shard], want, &first);

	cr_assert_leq(length, want);
	if (length == 0)
		cr_assert_not(shard_has_free(model, shard));
	for (uint32_t slot = first; slot < first + length; slot++) {
		cr_assert_eq(slot / CHUNK_PAGES, first / CHUNK_PAGES);
		cr_assert_eq(slot / CHUNK_PAGES % model->store.shard_count, shard);
		cr_assert_eq(model->state[slot], MODEL_FREE);
		cr_assert_not(is_held(model, slot));
		model->state[slot] = MODEL_USED;
		model->was_used[slot / CHUNK_PAGES] = true;
		model->place[slot] = model->in_use_count;
		model->in_use[model->in_use_count++] = slot;
	}
}

static void model_put(struct model *model)
{
	if (model->in_use_count == 0)
		return;
	const uint32_t slot = model->in_use[next_random(model) % model->in_use_count];
	struct slots *owner = model->store.shards[slot / CHUNK_PAGES % model->store.shard_count];
	const bool retires = model->retired_count < 200 && next_random(model) % 2000 == 0;

	cr_assert(slots_is_used(owner, slot));
	if (retires)
		slots_retire(owner, slot);
	else
		slots_put(owner, slot);
	cr_assert_not(slots_is_used(owner, slot));
	model->state[slot] = retires ? MODEL_RETIRED : MODEL_FREE;
	model->retired_count += retires;
	forget(model, slot);
}

static void model_clean(struct model *model, uint32_t shard)
{
	if (model->held[shard] != SLOT_NONE) {
		slots_group_clean(model->store.shards[shard], model->held[shard]);
		model->was_used[model->held[shard] / CHUNK_PAGES] = false;
		model->held[shard] = SLOT_NONE;
		return;
	}
	const uint32_t first = slots_take_dirty_group(model->store.shards[shard]);

	if (first == SLOT_NONE)
		return;
	cr_assert(model->was_used[first / CHUNK_PAGES]);
	for (uint32_t slot = first; slot < first + CHUNK_PAGES; slot++)
		cr_assert_eq(model->state[slot], MODEL_FREE);
	model->held[shard] = first;
}

static void model_take_over(struct model *model)
{
	close_shards(&model->store);
	open_shards(&model->store);
	for (uint32_t i = 0; i < model->store.shard_count; i++)
		model->held[i] = SLOT_NONE;
}

static void model_compare(struct model *model)
{
	uint64_t bits[BITMAP_WORDS(SLOTS)] = {0};
	uint64_t used = 0;
	uint64_t retired = 0;

	for (uint32_t i = 0; i < model->store.shard_count; i++) {
		slots_check(model->store.shards[i]);
		used += slots_used(model->store.shards[i]);
		retired += slots_retired(model->store.shards[i]);
	}
	cr_assert_eq(used, model->in_use_count);
	cr_assert_eq(retired, model->retired_count);
	cr_assert_eq(slots_map_read(model->store.map.memory, SLOTS, bits), used);
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		const uint32_t shard = slot / CHUNK_PAGES % model->store.shard_count;

		cr_assert_eq(bit_get(bits, slot), model->state[slot] == MODEL_USED);
		cr_assert_eq(slots_is_used(model->store.shards[shard], slot),
			model->state[slot] == MODEL_USED);
	}
}

static void model_step(struct model *model, bool filling)
{
	const uint32_t shard = (uint32_t)next_random(model) % model->store.shard_count;
	const uint64_t roll = next_random(model) % 1000;

	/* A take brings some 90 slots, a put one: the weights let the store fill and drain. */
	if (roll < (filling ? 60 : 1))
		model_take(model, shard);
	else if (roll < 990)
		model_put(model);
	else
		model_clean(model, shard);
}

Test(slots, a_map_is_none_when_a_retired_slot_is_not_taken)
{
	struct store store = new_store(SLOTS, 1);
	uint64_t bits[BITMAP_WORDS(SLOTS)] = {0};
	uint8_t *map = store.map.memory;
	uint32_t first;

	(void)slots_take(store.shards[0], 2, &first);
	slots_retire(store.shards[0], first);
	cr_assert_eq(slots_map_read(map, SLOTS, bits), 1);

	map[(SLOTS + first + 2) / 8] |= (uint8_t)(1u << (first + 2) % 8);

	cr_assert_eq(slots_map_read(map, SLOTS, bits), -EBADMSG);
	map[(SLOTS + first + 2) / 8] &= (uint8_t) ~(1u << (first + 2) % 8);
	free_store(&store);
}

Test(slots, random_use_agrees_with_a_reference_through_takeovers, .timeout = 100)
{
	struct model *model = calloc(1, sizeof(*model));

	for (uint32_t shard_count = 1; shard_count <= 3; shard_count++) {
		memset(model, 0, sizeof(*model));
		model->random = 0x9e3779b97f4a7c15ull + shard_count;
		model->store = new_store(SLOTS, shard_count);
		memset(model->held, 0xff, sizeof(model->held));

		for (uint32_t i = 0; i < OPERATIONS; i++) {
			model_step(model, i / 50000 % 2 == 0);
			if (i % 1000 == 0)
				model_compare(model);
			if (i % 20011 == 0)
				model_take_over(model);
		}

		model_compare(model);
		free_store(&model->store);
	}
	free(model);
}
