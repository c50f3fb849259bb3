/* SPDX-License-Identifier: Apache-2.0 */
/* Why the VMM keeps a copy: when the last descriptor closes, a waiting fault gets a page of zeros.
 */
#include "kernel_fault.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(2, 0);
	struct background reader = {.value = 0xff};

	punch(&machine, 1, 1);
	start_read(&reader, &machine, 1);
	expect_fault(&machine, UFFD_FAULT_MISSING, 1, false);
	CHECK(close(machine.uffd) == 0);
	finish(&reader);

	CHECK(reader.value == 0);
	return 0;
}
