/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's only swap area: a file on the disk under test, or zram. It is named and labelled
 * after the calling process; see leftover.h. A file keeps its name while it is in use: the kernel
 * does not let swap files be unlinked, and a leftover without a name could not be switched off.
 */
#ifndef VMSWAP_PERF_CONTESTANT_SWAP_AREA_H
#define VMSWAP_PERF_CONTESTANT_SWAP_AREA_H

#include <stdbool.h>
#include <stdint.h>

#include "perf/contestant/contestant.h"

#define SWAP_AREA_PATH_BYTES 512

enum swap_area_kind {
	SWAP_AREA_FILE, /* in setup.directory */
	SWAP_AREA_ZRAM, /* lz4 */
};

struct swap_area {
	enum swap_area_kind kind;
	char path[SWAP_AREA_PATH_BYTES]; /* empty: there is none */
	uint32_t zram;			 /* number of the device */
	bool is_on;
};

/*
 * Removes leftovers, then makes the area and switches it on. Refuses a host that swaps already:
 * pages would go there. On error contestant_fail() has said why; swap_area_remove() all the same.
 */
int swap_area_make(struct contestant *self, enum swap_area_kind kind, uint64_t size_bytes,
	struct swap_area *area);
/* Brings what is still out back into RAM, and waits for it. Once more is fine. -errno */
int swap_area_remove(struct swap_area *area);

#endif
