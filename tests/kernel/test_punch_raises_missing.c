/* SPDX-License-Identifier: Apache-2.0 */
/* A punched page says MISSING when touched; COPY fills it and the waiting write lands on top. */
#include "kernel_fault.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(4, 0);
	struct background writer = {0};

	punch(&machine, 2, 1);
	start_write(&writer, &machine, 2, 0x99);
	expect_fault(&machine, UFFD_FAULT_MISSING, 2, true);
	resolve_copy(&machine, 2, false);
	finish(&writer);

	CHECK(machine.memory[2 * PAGE_BYTES] == 0x99);
	CHECK(machine.memory[2 * PAGE_BYTES + 1] == content_of(2));
	return 0;
}
