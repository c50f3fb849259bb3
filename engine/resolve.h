/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolving calls with their errors understood: what is there is woken, what is missing becomes
 * a zero page, what is gone is left, the rest waits.
 */
#ifndef VMSWAP_ENGINE_RESOLVE_H
#define VMSWAP_ENGINE_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

struct served;
struct shard;
struct vm;

enum resolved {
	RESOLVED_MAPPED,  /* the pages in the page cache are mapped */
	RESOLVED_ZERO,	  /* nothing was there: a zero page is mapped */
	RESOLVED_PRESENT, /* somebody was first: woken */
	RESOLVED_GONE,	  /* the process or its mapping is gone */
	RESOLVED_LATER,	  /* the kernel wants a retry */
};

/* Where @page lies in the process of @served; false: not mapped there. At most @pages, set to what
 * fits. */
bool resolve_address(
	const struct served *served, uint64_t page, uint32_t *pages, uint64_t *ret_address);

/*
 * Maps @pages pages from the page cache, @with_mark arms their write marks. What counts is the
 * first page; the rest is mapped as far as the kernel goes.
 */
enum resolved resolve_cached(
	const struct served *served, uint64_t page, uint32_t pages, bool with_mark);
/* Maps a zero page where the page cache has nothing, else what it has. */
enum resolved resolve_missing(const struct served *served, uint64_t page);
void resolve_wake(const struct served *served, uint64_t page, uint32_t pages);
/* Wakes the waiters of every process of the VM but @except (may be NULL). */
void resolve_wake_others(const struct shard *shard, struct vm *vm, const struct served *except,
	uint64_t page, uint32_t pages);
/*
 * Touching the page is a machine check from now on, in every process. Before Linux 6.6 who touches
 * it waits for ever instead: wrong data is never shown.
 */
void resolve_poison(const struct shard *shard, struct vm *vm, uint64_t page);

#endif
