/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/seal.h"

#include <errno.h>

#include "engine/buffer.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

#define SEAL_BYTES  (WRITE_PAGES * PAGE_BYTES)
#define SEALS_BYTES (SEALS_MAX * SEAL_BYTES)
_Static_assert(SEALS_BYTES % CHUNK_BYTES == 0, "the buffers are whole huge pages");
_Static_assert(SEALS_MAX <= UINT8_MAX, "an index is a byte");

int seals_init(struct seals *seals)
{
	*seals = (struct seals){.memory = buffer_map(SEALS_BYTES)};
	if (!seals->memory)
		return -ENOMEM;
	while (seals->free_count < SEALS_MAX) {
		seals->free[seals->free_count] = (uint8_t)seals->free_count;
		seals->free_count++;
	}
	return 0;
}

void seals_destroy(struct seals *seals)
{
	buffer_unmap(seals->memory, SEALS_BYTES);
	*seals = (struct seals){0};
}

uint8_t seal_take(struct seals *seals)
{
	ASSERT(!seals_are_out(seals));
	return seals->free[--seals->free_count];
}

void seal_put(struct seals *seals, uint8_t index)
{
	ASSERT(index < SEALS_MAX);
	ASSERT(seals->free_count < SEALS_MAX);
	seals->free[seals->free_count++] = index;
}

uint8_t *seal_buffer(const struct seals *seals, uint8_t index)
{
	ASSERT(index < SEALS_MAX);
	return seals->memory + index * SEAL_BYTES;
}
