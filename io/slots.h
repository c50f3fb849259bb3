/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: page-sized places in the swap store. The store is cut into groups of one chunk; group g
 * belongs to shard g mod N, so no slot is ever contended. Each shard hands out runs: neighbours in
 * the guest become neighbours in the file, so that one read brings them back together.
 *
 * A slot is free, used, or retired (a write to it failed; it is never handed out again).
 * The map lives in shared memory given by the caller and is the whole truth; the rest is recounted.
 */
#ifndef VMSWAP_IO_SLOTS_H
#define VMSWAP_IO_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#define SLOT_NONE UINT32_MAX

struct slots;

/*
 * Bytes of map that @slot_count slots need: a multiple of CHUNK_PAGES, below SLOT_NONE. A group
 * that was never used costs no memory: its part of the map is neither written nor read.
 */
uint64_t slots_map_bytes(uint64_t slot_count);
/*
 * For a successor, before any slots_new(): sets the bits of the slots in use in @bits, @slot_count
 * zeros, and touches none of groups that were never used. Returns how many there are; -EBADMSG: the
 * map is none, a retired slot is not taken.
 */
int64_t slots_map_read(const void *map, uint64_t slot_count, uint64_t *bits);
/*
 * The part of @shard of @shard_count over a store of @slot_count slots. @map is shared by all
 * shards, aligned to a cache line, zeroed when new, slots_map_bytes() long; each shard touches its
 * own groups only. -ENOMEM.
 */
int slots_new(void *map, uint64_t slot_count, uint32_t shard, uint32_t shard_count,
	struct slots **ret_slots);
void slots_free(struct slots *slots);

/*
 * Takes a run of 1…@want (≤ CHUNK_PAGES) consecutive free slots, the longest that a bounded search
 * finds. Returns its length and its first slot, or 0 when the store is full. Owner thread.
 */
uint32_t slots_take(struct slots *slots, uint32_t want, uint32_t *ret_first);
/* Gives back one slot that was taken. Owner thread. */
void slots_put(struct slots *slots, uint32_t slot);
/* Keeps a taken slot out of use for ever. Owner thread. */
void slots_retire(struct slots *slots, uint32_t slot);
bool slots_is_used(const struct slots *slots, uint32_t slot);

/*
 * A group that was used since its space was last given back and is free now: its first slot, or
 * SLOT_NONE. The group cannot be handed out until slots_group_clean() says its space is gone (or
 * that it failed to go, which only costs disk). Owner thread.
 */
uint32_t slots_take_dirty_group(struct slots *slots);
void slots_group_clean(struct slots *slots, uint32_t first_slot);

/* Used and retired slots of this shard. Any thread; may be a moment old. */
uint64_t slots_used(const struct slots *slots);
uint64_t slots_retired(const struct slots *slots);
/* Recounts the map and asserts that every counter agrees. Owner thread, tests. */
void slots_check(const struct slots *slots);

#endif
