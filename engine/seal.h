/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where pages are encrypted on their way to the disk: a bounded number of buffers a shard, each for
 * one write. Without encryption writes go out of guest memory itself and there are none.
 */
#ifndef VMSWAP_ENGINE_SEAL_H
#define VMSWAP_ENGINE_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/limits.h"

struct seals {
	uint8_t *memory; /* NULL: not encrypted */
	uint32_t free_count;
	uint8_t free[SEALS_MAX];
};

/* -ENOMEM. Set-up threads. */
int seals_init(struct seals *seals);
/* A zeroed struct is fine. */
void seals_destroy(struct seals *seals);

/* Owner thread. A taken buffer holds WRITE_PAGES. */
static inline bool seals_are_out(const struct seals *seals)
{
	return seals->free_count == 0;
}

uint8_t seal_take(struct seals *seals);
void seal_put(struct seals *seals, uint8_t index);
uint8_t *seal_buffer(const struct seals *seals, uint8_t index);

#endif
