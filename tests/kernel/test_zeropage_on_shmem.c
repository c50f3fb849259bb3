/* SPDX-License-Identifier: Apache-2.0 */
/* ZEROPAGE works on shmem: a hole reads as zeros afterwards and is in the page cache. */
#include "kernel_fault.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(4, 0);
	struct background reader = {.value = 0xff};
	uint64_t cached;
	uint64_t done;

	punch(&machine, 2, 1);
	start_read(&reader, &machine, 2);
	expect_fault(&machine, UFFD_FAULT_MISSING, 2, false);
	CHECK(uffd_zero(machine.uffd, address_of(&machine, 2), PAGE_BYTES, &done) == 0);
	finish(&reader);

	CHECK(reader.value == 0);
	CHECK(guest_cached_bytes(machine.memfd, &cached) == 0);
	CHECK(cached == 4 * PAGE_BYTES);
	return 0;
}
