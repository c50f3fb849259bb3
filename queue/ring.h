/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded pointer ring, any number of producers and consumers, over ConcurrencyKit's atomics.
 *
 * Each cell carries a sequence number (D. Vyukov, "Bounded MPMC queue", 1024cores.net), so a
 * producer that is preempted between claiming a cell and filling it delays that one cell only:
 * other producers go on, and a consumer that meets the unfilled cell is told "empty" rather than
 * made to spin. ck_ring's multi-producer path spins there instead, and two producers sharing a CPU
 * fall to hundreds of items a second or fewer (measured: queue/README.md).
 *
 * The pointers are never looked at. NULL cannot be stored.
 */
#ifndef VMSWAP_QUEUE_RING_H
#define VMSWAP_QUEUE_RING_H

#include <stdbool.h>
#include <stdint.h>

struct ring;

/* @capacity must be a power of two, 2 or more; all of it can be used. -ENOMEM. */
int ring_new(uint32_t capacity, struct ring **ret_ring);
/* NULL is fine. The ring must be quiet; what is still in it is not freed. */
void ring_free(struct ring *ring);

/*
 * Never blocks. False when full, or when the next cell is being emptied: back-pressure, the caller
 * keeps @item. Any thread.
 */
bool ring_push_mpmc(struct ring *ring, void *item);
/* Never blocks. NULL when empty, or when the next item is claimed but not yet filled. Any thread.
 */
void *ring_pop_mpmc(struct ring *ring);

/*
 * Items in the ring, one that is being filled included. Exact when the ring is quiet; otherwise it
 * may be high by what was popped during the call, never above the capacity. Any thread.
 */
uint32_t ring_count(const struct ring *ring);

#endif
