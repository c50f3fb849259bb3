/* SPDX-License-Identifier: Apache-2.0 */
/* What the page table of this process says of a machine's pages. */
#ifndef VMSWAP_TESTS_KERNEL_MARKS_H
#define VMSWAP_TESTS_KERNEL_MARKS_H

#include "tests/kernel/kernel_test.h"

/* Pages 0…63 whose write mark survived, one bit each. */
static inline uint64_t marked_pages(const struct machine *machine)
{
	const int pagemap = guest_pagemap_open(getpid());
	uint64_t marked = 0;
	int result;

	CHECK(pagemap >= 0);
	CHECK(machine->pages <= 64);
	result = guest_scan_marked(pagemap, address_of(machine, 0), machine->pages, &marked);
	if (result == -ENOTTY)
		skip("no PAGEMAP_SCAN (Linux 6.7)");
	CHECK(result == 0);
	close(pagemap);
	return marked;
}

static inline uint64_t present_pages(const struct machine *machine)
{
	const int pagemap = guest_pagemap_open(getpid());
	uint64_t present = 0;

	CHECK(pagemap >= 0);
	CHECK(machine->pages <= 64);
	CHECK(guest_scan_present(pagemap, address_of(machine, 0), machine->pages, &present) == 0);
	close(pagemap);
	return present;
}

#endif
