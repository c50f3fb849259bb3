/* SPDX-License-Identifier: Apache-2.0 */
/* The fills of a shard and their buffers: who is free. */
#include <errno.h>
#include <string.h>

#include "engine/buffer.h"
#include "engine/fill.h"
#include "engine/shard.h"
#include "io/uring.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

#define FAULT_BUFFER_BYTES (FAULT_READ_PAGES * PAGE_BYTES)
#define BULK_BUFFER_BYTES  (BULK_READ_PAGES * PAGE_BYTES)
#define FAULT_BYTES	   (FAULT_READS_MAX * FAULT_BUFFER_BYTES)
#define BUFFERS_BYTES	   (FAULT_BYTES + BULK_READS_MAX * BULK_BUFFER_BYTES)
_Static_assert(BUFFERS_BYTES % CHUNK_BYTES == 0, "the buffers are whole huge pages");

int fills_init(struct fills *fills)
{
	uint8_t *memory = buffer_map(BUFFERS_BYTES);

	memset(fills, 0, sizeof(*fills));
	if (!memory)
		return -ENOMEM;
	fills->memory = memory;
	fills->memory_bytes = BUFFERS_BYTES;
	for (uint32_t i = 0; i < FILLS_MAX; i++) {
		fills->fill[i].buffer = memory;
		memory += i < FAULT_READS_MAX ? FAULT_BUFFER_BYTES : BULK_BUFFER_BYTES;
		fills->free[i] = i;
	}
	ASSERT(memory == fills->memory + BUFFERS_BYTES);
	fills->fault_free = FAULT_READS_MAX;
	fills->bulk_free = BULK_READS_MAX;
	return 0;
}

void fills_destroy(struct fills *fills)
{
	buffer_unmap(fills->memory, fills->memory_bytes);
	fills->memory = NULL;
}

int fills_register(struct shard *shard)
{
	const struct iovec buffers = {shard->fills.memory, shard->fills.memory_bytes};

	shard_assert_owner(shard);
	return uring_register_buffers(shard->ring, &buffers, 1);
}

/* Fault fills (and those of replays) are the lower part of both arrays, bulk fills the upper. */
struct fill *fills_take(struct fills *fills, bool is_fault)
{
	if (is_fault)
		return fills->fault_free == 0 ? NULL
					      : &fills->fill[fills->free[--fills->fault_free]];
	return fills->bulk_free == 0
		       ? NULL
		       : &fills->fill[fills->free[FAULT_READS_MAX + --fills->bulk_free]];
}

void fills_put(struct fills *fills, struct fill *fill)
{
	const uint32_t index = fill_index(fills, fill);

	ASSERT(fill->phase != FILL_FREE);
	fill->phase = FILL_FREE;
	fills->faults -= fill->kind == FILL_FAULT;
	if (index < FAULT_READS_MAX)
		fills->free[fills->fault_free++] = index;
	else
		fills->free[FAULT_READS_MAX + fills->bulk_free++] = index;
	ASSERT(fills->fault_free <= FAULT_READS_MAX);
	ASSERT(fills->bulk_free <= BULK_READS_MAX);
}
