/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults put aside: the page is being punched, the kernel said EAGAIN, no read buffer is free, or
 * memory is short. They are tried again each turn, and on a timer when nothing else wakes the
 * shard. The list is bounded; what does not fit is woken, so that the thread faults again and the
 * message comes back.
 */
#ifndef VMSWAP_ENGINE_PARK_H
#define VMSWAP_ENGINE_PARK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/limits.h"

/* How long a shard sleeps at most while faults are parked. */
#define PARK_RETRY_US 200u

struct served;
struct shard;

/* A fault on its way. */
struct fault {
	struct served *served;
	uint64_t page;
	uint64_t read_ns; /* when its message was read */
	bool is_write;
	bool is_minor;
};

struct parked {
	struct fault fault[PARKED_MAX];
	uint32_t count;
};

/* Keeps @fault for a retry. Owner thread. */
void park_fault(struct shard *shard, const struct fault *fault);
/* Tries every parked fault once. True when one was served. Owner thread. */
bool park_retry(struct shard *shard);
/* Forgets the faults of @served. Owner thread. */
void park_forget(struct shard *shard, const struct served *served);

#endif
