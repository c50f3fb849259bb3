/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake world put back to what it was: what happens between fake_save() and fake_restore() has
 * not happened. One copy at a time. Tables, descriptors and rings are copied whole; of memory and
 * disk only the pages that change, when they change. No writes of a dead daemon may be under way.
 */
#ifndef VMSWAP_TESTS_FAKE_SNAPSHOT_H
#define VMSWAP_TESTS_FAKE_SNAPSHOT_H

#include <stdint.h>

void fake_save(void);
void fake_restore(void);
/* Chance goes on from @seed. */
void fake_reseed(uint64_t seed);
/*
 * Of where the death of a daemon leaves everything, whatever the pages hold and whatever the time:
 * words, slots, page cache, page tables, who waits, what is in flight.
 */
uint64_t fake_fingerprint(void);
/* Of all memory and the disk: to tell whether fake_restore() put every page back. */
uint64_t fake_content_sum(void);

#endif
