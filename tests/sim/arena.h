/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a successor's memory comes from while a crash point is tried: everything it allocates goes
 * at once when the point is done, whether it came through or died half way. Linked with --wrap of
 * the allocator, of the shards' buffers and of the calls that lock memory.
 */
#ifndef VMSWAP_TESTS_ARENA_H
#define VMSWAP_TESTS_ARENA_H

#include <stdbool.h>

/* From here on allocations are the arena's. */
void arena_begin(void);
/* Back to the allocator; what the arena gave out is gone. */
void arena_end(void);
bool arena_is_used(void);

#endif
