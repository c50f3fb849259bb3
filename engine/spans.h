/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the pages of a VM lie in one process: runs of {address, pages, first page}. One run a
 * region at first; a process that moves or unmaps parts of its memory splits them.
 */
#ifndef VMSWAP_ENGINE_SPANS_H
#define VMSWAP_ENGINE_SPANS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/limits.h"

/* One a region and room for splits by mremap and munmap. */
#define SPANS_MAX (2 * REGIONS_MAX)

struct span {
	uint64_t address;
	uint64_t pages;
	uint64_t first_page;
};

struct spans {
	struct span span[SPANS_MAX];
	uint32_t count;
};

/* -ENOSPC: full. */
int spans_add(struct spans *spans, uint64_t address, uint64_t pages, uint64_t first_page);
/* The page at @address; false when none of the VM's is there. */
bool spans_page(const struct spans *spans, uint64_t address, uint64_t *ret_page);
/* The address of @page and how many pages from it on lie behind each other; false: not mapped
 * there. */
bool spans_address(
	const struct spans *spans, uint64_t page, uint64_t *ret_address, uint64_t *ret_pages);
/* What lies in [address, end) is gone. -ENOSPC: a split found no room; the rest of that run is gone
 * too. */
int spans_remove(struct spans *spans, uint64_t address, uint64_t end);
/* What lies in [address, end) is at @to now. -ENOSPC as above. */
int spans_move(struct spans *spans, uint64_t address, uint64_t end, uint64_t to);

#endif
