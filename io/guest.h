/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory seen from outside the VMM: the daemon's own mapping of the memfd (the alias, never
 * registered), what the memfd holds, and what a VMM's page table says.
 */
#ifndef VMSWAP_IO_GUEST_H
#define VMSWAP_IO_GUEST_H

#include <errno.h>
#include <stdint.h>

#include "queue/base/bits.h"

/*
 * Maps @size_bytes of @memfd at @offset, shared, read-write, not locked, without huge pages.
 * Touch only pages known to be in the page cache: reading a hole through the alias fills it.
 */
int guest_alias_map(int memfd, uint64_t offset, uint64_t size_bytes, uint8_t **ret_alias);
void guest_alias_unmap(uint8_t *alias, uint64_t size_bytes);
/* Drops the daemon's page-table entries (not the pages): a mapped alias makes punches and zaps
 * dearer. */
void guest_alias_drop(uint8_t *alias, uint64_t size_bytes);

/*
 * The first run of pages in the page cache of @memfd within [offset, end): 0 and the run, clipped
 * to the range, or -ENXIO when there is none, or -errno. To find where the run ends costs time in
 * proportion to its length: @ret_end NULL spares that. Waits for no I/O, but for a punch of the
 * same memfd that runs at the moment (both hold the inode's lock).
 */
int guest_next_data(
	int memfd, uint64_t offset, uint64_t end, uint64_t *ret_start, uint64_t *ret_end);

/*
 * Whether the page at @offset of @memfd is in the page cache, or was and the host has swapped it
 * out: 1, 0 or -errno. Waits as guest_next_data() does.
 */
static inline int guest_has_page(int memfd, uint64_t offset)
{
	uint64_t start;
	const int error = guest_next_data(memfd, offset, offset + PAGE_BYTES, &start, NULL);

	if (error == -ENXIO)
		return 0;
	return error ? error : 1;
}

/*
 * Which of the first @pages (≤ CHUNK_PAGES) pages at @alias the page cache holds: bit i set in
 * @ret_cached, others cleared. A page that the host has swapped out counts as not held. Waits for
 * no lock of the file: for shard threads, where guest_next_data() would wait for a punch. -errno.
 */
int guest_cached(const uint8_t *alias, uint32_t pages, uint64_t *ret_cached);

/*
 * Takes [offset, offset + size_bytes) out of the page cache, for good. -errno. Set-up threads,
 * while no ring with a puncher of its own is there.
 */
int guest_punch(int memfd, uint64_t offset, uint64_t size_bytes);

/* Bytes of page cache the memfd holds. */
int guest_cached_bytes(int memfd, uint64_t *ret_bytes);

/* /proc/PID/pagemap; -errno. */
int guest_pagemap_open(int pid);
/*
 * Pages of [address, address + pages) whose write mark survived the zap (unmapped, mark kept:
 * nobody wrote since it was armed): bit i set in @ret_marked, others cleared. -ENOTTY before
 * Linux 6.7. Blocks on the VMM's mmap lock: control threads only.
 */
int guest_scan_marked(int pagemap_fd, uint64_t address, uint32_t pages, uint64_t *ret_marked);
/* Pages that are mapped: bit i set in @ret_present. As above; falls back to reading pagemap. */
int guest_scan_present(int pagemap_fd, uint64_t address, uint32_t pages, uint64_t *ret_present);

/* process_madvise(MADV_PAGEOUT): the zap without injection. Control threads only. -errno. */
int guest_pageout(int pidfd, uint64_t address, uint64_t size_bytes);

#endif
