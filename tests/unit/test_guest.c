/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/guest.h"
#include "queue/base/bits.h"

#define FIRST_PAGE 1000u
#define PAGES	   700u /* more than one read */

/* A file in pagemap's format, which knows no PAGEMAP_SCAN: what a kernel before 6.7 gives us. */
static int old_pagemap(uint32_t pages)
{
	const int fd = memfd_create("pagemap", MFD_CLOEXEC);

	for (uint32_t i = 0; i < pages; i++) {
		const uint64_t present = (uint64_t)1 << 63;
		const uint64_t swapped = (uint64_t)1 << 62;
		const uint64_t entry = i % 3 == 0 ? present : swapped;

		cr_assert_eq(pwrite(fd, &entry, sizeof(entry), (FIRST_PAGE + i) * 8), 8);
	}
	return fd;
}

static int new_memfd(uint64_t size_bytes)
{
	const int fd = memfd_create("guest", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, (off_t)size_bytes), 0);
	return fd;
}

Test(guest, before_pagemap_scan_present_pages_are_read_from_pagemap)
{
	const int fd = old_pagemap(PAGES);
	uint64_t present[BITMAP_WORDS(PAGES)];

	memset(present, 0xff, sizeof(present));
	cr_assert_eq(guest_scan_present(fd, FIRST_PAGE * PAGE_BYTES, PAGES, present), 0);

	for (uint32_t i = 0; i < PAGES; i++)
		cr_assert_eq(bit_get(present, i), i % 3 == 0);
	close(fd);
}

Test(guest, before_pagemap_scan_marks_cannot_be_told)
{
	const int fd = old_pagemap(1);
	uint64_t marked = 0;

	cr_assert_eq(guest_scan_marked(fd, FIRST_PAGE * PAGE_BYTES, 1, &marked), -ENOTTY);
	close(fd);
}

Test(guest, the_pagemap_of_a_process_that_is_gone_says_so)
{
	const int fd = old_pagemap(PAGES / 2);
	uint64_t present[BITMAP_WORDS(PAGES)];

	cr_assert_eq(guest_scan_present(fd, FIRST_PAGE * PAGE_BYTES, PAGES, present), -ESRCH);
	cr_assert_lt(guest_pagemap_open(INT32_MAX), 0);
	close(fd);
}

Test(guest, a_scan_of_more_runs_than_one_call_returns_misses_none)
{
	const uint64_t size_bytes = PAGES * PAGE_BYTES;
	const int memfd = new_memfd(size_bytes);
	const int pagemap = guest_pagemap_open(getpid());
	uint64_t present[BITMAP_WORDS(PAGES)];
	uint8_t *alias;

	cr_assert_eq(guest_alias_map(memfd, 0, size_bytes, &alias), 0);
	for (uint32_t i = 0; i < PAGES; i += 2)
		alias[i * PAGE_BYTES] = 1;
	cr_assert_eq(guest_scan_present(pagemap, (uintptr_t)alias, PAGES, present), 0);

	for (uint32_t i = 0; i < PAGES; i++)
		cr_assert_eq(bit_get(present, i), i % 2 == 0, "page %u", i);
	guest_alias_drop(alias, size_bytes);
	cr_assert_eq(guest_scan_present(pagemap, (uintptr_t)alias, PAGES, present), 0);
	for (uint32_t i = 0; i < PAGES; i++)
		cr_assert_not(bit_get(present, i));
	guest_alias_unmap(alias, size_bytes);
	close(pagemap);
	close(memfd);
}

Test(guest, data_runs_are_clipped_to_the_range_and_their_sum_is_what_is_cached)
{
	const int memfd = new_memfd(64 * PAGE_BYTES);
	static const uint8_t page[PAGE_BYTES];
	uint64_t cached;
	uint64_t start;
	uint64_t end;

	for (uint32_t i = 10; i < 20; i++)
		cr_assert_eq(pwrite(memfd, page, sizeof(page), (off_t)(i * PAGE_BYTES)),
			(ssize_t)sizeof(page));

	cr_assert_eq(guest_next_data(memfd, 0, 15 * PAGE_BYTES, &start, &end), 0);
	cr_assert_eq(start, 10 * PAGE_BYTES);
	cr_assert_eq(end, 15 * PAGE_BYTES);
	cr_assert_eq(guest_next_data(memfd, 15 * PAGE_BYTES, 64 * PAGE_BYTES, &start, &end), 0);
	cr_assert_eq(start, 15 * PAGE_BYTES);
	cr_assert_eq(end, 20 * PAGE_BYTES);
	cr_assert_eq(
		guest_next_data(memfd, 20 * PAGE_BYTES, 64 * PAGE_BYTES, &start, &end), -ENXIO);
	cr_assert_eq(guest_next_data(memfd, 0, 10 * PAGE_BYTES, &start, &end), -ENXIO);
	cr_assert_eq(guest_cached_bytes(memfd, &cached), 0);
	cr_assert_eq(cached, 10 * PAGE_BYTES);
	close(memfd);
}
