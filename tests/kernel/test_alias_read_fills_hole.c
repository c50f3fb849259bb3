/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a hole through a mapping puts a page into the page cache (and COPY then says EEXIST);
 * reading it with pread(2) does not.
 */
#include "kernel_test.h"

static uint64_t cached_bytes(const struct machine *machine)
{
	uint64_t cached;

	CHECK(guest_cached_bytes(machine->memfd, &cached) == 0);
	return cached;
}

int main(void)
{
	static uint8_t page[PAGE_BYTES] __attribute__((aligned(4096)));
	const struct machine machine = machine_new(4, 0);
	uint64_t start;
	uint64_t end;
	struct uffd_call call;

	punch(&machine, 0, 2);
	CHECK(pread(machine.memfd, page, PAGE_BYTES, 0) == (ssize_t)PAGE_BYTES);
	CHECK(page[0] == 0);
	CHECK(cached_bytes(&machine) == 2 * PAGE_BYTES);
	CHECK(guest_next_data(machine.memfd, 0, machine.size_bytes, &start, &end) == 0);
	CHECK(start == 2 * PAGE_BYTES && end == 4 * PAGE_BYTES);
	CHECK(guest_next_data(machine.memfd, 0, 2 * PAGE_BYTES, &start, &end) == -ENXIO);

	CHECK(*(volatile uint8_t *)(machine.alias + PAGE_BYTES) == 0);

	CHECK(cached_bytes(&machine) == 3 * PAGE_BYTES);
	CHECK(guest_next_data(machine.memfd, 0, machine.size_bytes, &start, &end) == 0);
	CHECK(start == PAGE_BYTES);
	CHECK(uffd_copy(machine.uffd, &call, address_of(&machine, 1), page, PAGE_BYTES, false) ==
		-EEXIST);
	return 0;
}
