/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A range may have holes when it is registered: what is mapped of it is. EINVAL where nothing is
 * mapped. A second time is the same.
 */
#include "kernel_test.h"

#define PAGES 8u

static int register_range(const struct machine *machine, uint32_t first, uint32_t count)
{
	return uffd_register(machine->uffd, address_of(machine, first), count * PAGE_BYTES, false);
}

int main(void)
{
	const struct machine machine = machine_new(PAGES, 0);

	CHECK(munmap(machine.memory + 2 * PAGE_BYTES, 2 * PAGE_BYTES) == 0);
	CHECK(munmap(machine.memory + 6 * PAGE_BYTES, 2 * PAGE_BYTES) == 0);

	CHECK(register_range(&machine, 0, PAGES) == 0);
	CHECK(register_range(&machine, 2, 4) == 0);
	CHECK(register_range(&machine, 2, 2) == -EINVAL);
	CHECK(register_range(&machine, 6, 2) == -EINVAL);
	return 0;
}
