/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a client's memory beside it, for contestants that bring pages back by copying. Shared
 * with the processes forked after it was opened. Room for all of it is allocated from the start,
 * so that no fault of a handler's own is measured.
 */
#ifndef VMSWAP_PERF_CONTESTANT_STASH_H
#define VMSWAP_PERF_CONTESTANT_STASH_H

#include <stdint.h>

struct stash {
	uint8_t *memory; /* NULL: not opened */
	uint64_t size_bytes;
};

int stash_open(uint64_t size_bytes, struct stash *ret_stash);
void stash_close(struct stash *stash);
/* Maps all of it into the calling process, too. */
int stash_populate(const struct stash *stash);
/*
 * Saves the pages that @memfd holds and punches them, so that touches raise MISSING; others were
 * saved before. Nobody writes to the memory meanwhile.
 */
int stash_take(const struct stash *stash, int memfd, uint64_t *ret_bytes);

#endif
