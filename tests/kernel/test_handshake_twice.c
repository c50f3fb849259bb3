/* SPDX-License-Identifier: Apache-2.0 */
/* UFFDIO_API is once a descriptor: the second says EINVAL, and the first one's registration stays.
 */
#include "kernel_fault.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(4, 0);
	struct background reader = {0};

	CHECK(uffd_handshake(machine.uffd, 0) == -EINVAL);

	zap(&machine, 0, 1);
	start_read(&reader, &machine, 0);
	expect_fault(&machine, UFFD_FAULT_MINOR, 0, false);
	resolve_continue(&machine, 0, false);
	finish(&reader);
	return 0;
}
