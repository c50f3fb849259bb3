/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vyukov's bounded MPMC ring.
 *
 *   push_at, pop_at   positions that only grow; position p uses cell p mod capacity
 *   cell.sequence     says whose turn the cell is:
 *
 *     p                   empty, waits for the push at position p
 *     p + 1               filled, waits for the pop at position p
 *     p + capacity        empty again, waits for the push one lap later
 *
 * 1. A thread owns a cell from the moment its compare-and-swap moved push_at (pop_at) past the
 *    position until it stores the cell's next sequence. No one else touches cell.item meanwhile.
 * 2. A cell that is not at the expected sequence is late (full, or empty) or we are (another thread
 *    took the position: read it again). The signed distance tells which.
 * 3. Nobody waits for a cell: late means "return false". The retry loops turn only when another
 *    thread's compare-and-swap succeeded, so each turn is somebody's finished claim (lock-free).
 *
 * Positions are 64 bits and never wrap. A capacity of 1 would make "filled" and "empty one lap
 * later" the same number.
 *
 * ThreadSanitizer does not see ck's inline assembly, so the two ordering helpers tell it what they
 * order; the code under test stays the code that ships.
 */
#include "queue/ring.h"

#include <stddef.h>
#include <stdlib.h>

#include <ck_pr.h>
#ifdef VMSWAP_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

struct cell {
	uint64_t sequence;
	void *item;
};

struct ring {
	/* constant after ring_new() */
	uint64_t mask;
	/* any thread, atomics */
	_Alignas(CACHE_LINE) uint64_t push_at;
	_Alignas(CACHE_LINE) uint64_t pop_at;
	_Alignas(CACHE_LINE) struct cell cells[];
};

static_assert(sizeof(struct cell) == 16, "four cells a cache line");
static_assert(offsetof(struct ring, pop_at) - offsetof(struct ring, push_at) == CACHE_LINE,
	"producers and consumers write different cache lines");
static_assert(sizeof(struct ring) % CACHE_LINE == 0, "aligned_alloc() wants whole lines");

/* Pairs with sequence_release(): what the thread before us did to the cell is visible. */
static uint64_t sequence_acquire(struct cell *cell)
{
	uint64_t sequence = ck_pr_load_64(&cell->sequence);

	ck_pr_fence_acquire();
#ifdef VMSWAP_TSAN
	__tsan_acquire(&cell->sequence);
#endif
	return sequence;
}

/* Pairs with sequence_acquire(): our use of the cell is over before the next owner sees it. */
static void sequence_release(struct cell *cell, uint64_t sequence)
{
#ifdef VMSWAP_TSAN
	__tsan_release(&cell->sequence);
#endif
	ck_pr_fence_release();
	ck_pr_store_64(&cell->sequence, sequence);
}

/*
 * Takes the next position of @position whose cell stands at that position + @turn. NULL when the
 * cell is late. The claim itself orders nothing: sequence_acquire() has, and owners touch their
 * own cell only.
 */
static struct cell *claim(
	struct ring *ring, uint64_t *position, uint64_t turn, uint64_t *ret_claimed)
{
	uint64_t at = ck_pr_load_64(position);

	for (;;) {
		struct cell *cell = &ring->cells[at & ring->mask];
		int64_t ahead = (int64_t)(sequence_acquire(cell) - (at + turn));

		if (ahead < 0)
			return NULL;
		if (ahead > 0) {
			at = ck_pr_load_64(position);
			continue;
		}
		if (ck_pr_cas_64_value(position, at, at + 1, &at)) {
			*ret_claimed = at;
			return cell;
		}
	}
}

int ring_new(uint32_t capacity, struct ring **ret_ring)
{
	ASSERT(capacity >= 2);
	ASSERT(is_power_of_two(capacity));

	size_t cell_bytes = divide_up(capacity * sizeof(struct cell), CACHE_LINE) * CACHE_LINE;
	struct ring *ring = aligned_alloc(CACHE_LINE, sizeof(*ring) + cell_bytes);

	if (!ring)
		return -ENOMEM;
	ring->mask = capacity - 1;
	ring->push_at = 0;
	ring->pop_at = 0;
	for (uint32_t i = 0; i < capacity; i++)
		ring->cells[i] = (struct cell){.sequence = i};
	*ret_ring = ring;
	return 0;
}

void ring_free(struct ring *ring)
{
	free(ring);
}

bool ring_push_mpmc(struct ring *ring, void *item)
{
	uint64_t at;
	struct cell *cell;

	ASSERT(item);
	cell = claim(ring, &ring->push_at, 0, &at);
	if (!cell)
		return false;
	ASSERT(!cell->item);
	cell->item = item;
	sequence_release(cell, at + 1);
	return true;
}

void *ring_pop_mpmc(struct ring *ring)
{
	uint64_t at;
	struct cell *cell = claim(ring, &ring->pop_at, 1, &at);
	void *item;

	if (!cell)
		return NULL;
	item = cell->item;
	ASSERT(item);
	cell->item = NULL;
	sequence_release(cell, at + ring->mask + 1);
	return item;
}

uint32_t ring_count(const struct ring *ring)
{
	/* The older of the two is read first, so that the difference cannot be negative. */
	uint64_t pop_at = ck_pr_load_64(&ring->pop_at);

	ck_pr_fence_load();

	uint64_t push_at = ck_pr_load_64(&ring->push_at);

	ASSERT(push_at >= pop_at);
	return (uint32_t)MIN(push_at - pop_at, ring->mask + 1);
}
