/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crosvm-style: where pages are. 5 bytes a page, and 4 a slot of the swap file:
 *
 *   page ── in RAM of the client, or nowhere: a zero page
 *        ├─ staged: in the staging area
 *        └─ in the file: only in its slot      (a page that came back keeps its slot, stale: its
 *                                               copy is overwritten in place, or found the same)
 *
 * Under the monitor's lock.
 */
#ifndef VMSWAP_PERF_CONTESTANT_CROSVM_PAGES_H
#define VMSWAP_PERF_CONTESTANT_CROSVM_PAGES_H

#include <stdbool.h>
#include <stdint.h>

struct crosvm_pages {
	uint64_t count;
	bool *is_staged;
	uint32_t *slot_of;    /* page: 0, or its slot + 1; the top bit: in the file */
	uint32_t *owner_of;   /* slot: its page; the top bit: free, then the next free one + 1 */
	uint64_t slots;	      /* the file has so many, free ones too */
	uint32_t free_slot;   /* the first free one + 1, or 0 */
	uint64_t staged_from; /* no page below is staged */
	uint64_t filed_from;  /* no slot below has a page that is in the file */
};

int crosvm_pages_open(struct crosvm_pages *pages, uint64_t count);
/* One that is zeroed is fine. */
void crosvm_pages_close(struct crosvm_pages *pages);

void crosvm_pages_stage(struct crosvm_pages *pages, uint64_t first, uint64_t count);
void crosvm_pages_unstage(struct crosvm_pages *pages, uint64_t first, uint64_t count);
/* The first run of staged pages, at most @max; its length, or 0. */
uint64_t crosvm_pages_next_staged(struct crosvm_pages *pages, uint64_t max, uint64_t *ret_first);

/* True with the slot if the page has one, in the file or stale. */
bool crosvm_pages_slot(const struct crosvm_pages *pages, uint64_t page, uint64_t *ret_slot);
bool crosvm_pages_is_in_file(const struct crosvm_pages *pages, uint64_t page);
/* The page's slot, or one for it. */
uint64_t crosvm_pages_take_slot(struct crosvm_pages *pages, uint64_t page);
void crosvm_pages_free_slot(struct crosvm_pages *pages, uint64_t page);
/* The page has a slot: whether its copy there is the page's only one. */
void crosvm_pages_set_in_file(struct crosvm_pages *pages, uint64_t page, bool is_in_file);
/* Whether this slot has a page that is in the file. */
bool crosvm_pages_slot_is_used(const struct crosvm_pages *pages, uint64_t slot);
/* The first run of slots in use whose pages are neighbours too, at most @max; as above. */
uint64_t crosvm_pages_next_filed(
	struct crosvm_pages *pages, uint64_t max, uint64_t *ret_slot, uint64_t *ret_page);

#endif
