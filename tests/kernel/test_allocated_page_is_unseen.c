/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fallocate(2) of a hole puts a page into the page cache that neither mincore(2) nor SEEK_DATA
 * sees: no data until somebody comes for it. COPY says EEXIST all the same.
 */
#include <fcntl.h>

#include "kernel_test.h"

static void check_seen(const struct machine *machine, uint32_t page, bool is_seen)
{
	const uint64_t offset = page * PAGE_BYTES;
	uint64_t held[BITMAP_WORDS(CHUNK_PAGES)];
	uint64_t start;

	CHECK(guest_cached(machine->alias + offset, 1, held) == 0);
	CHECK(bit_get(held, 0) == is_seen);
	CHECK(guest_next_data(machine->memfd, offset, offset + PAGE_BYTES, &start, NULL) ==
		(is_seen ? 0 : -ENXIO));
}

int main(void)
{
	static uint8_t source[PAGE_BYTES] __attribute__((aligned(4096)));
	const struct machine machine = machine_new(4, 0);
	struct uffd_call call;

	punch(&machine, 1, 1);
	check_seen(&machine, 0, true);
	check_seen(&machine, 1, false);
	CHECK(fallocate(machine.memfd, 0, PAGE_BYTES, PAGE_BYTES) == 0);
	check_seen(&machine, 1, false);

	CHECK(uffd_copy(machine.uffd, &call, address_of(&machine, 1), source, PAGE_BYTES, false) ==
		-EEXIST);
	check_seen(&machine, 1, false);
	machine.alias[PAGE_BYTES] = 1;
	check_seen(&machine, 1, true);
	return 0;
}
