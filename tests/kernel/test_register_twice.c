/* SPDX-License-Identifier: Apache-2.0 */
/* A range belongs to one userfaultfd: a second one gets EBUSY, and may have it after UNREGISTER. */
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(4, 0);
	const int second = uffd_open();

	CHECK(second >= 0);
	CHECK(uffd_handshake(second, 0) == 0);

	CHECK(uffd_register(second, address_of(&machine, 0), machine.size_bytes, false) == -EBUSY);
	CHECK(uffd_unregister(machine.uffd, address_of(&machine, 0), machine.size_bytes) == 0);
	CHECK(uffd_register(second, address_of(&machine, 0), machine.size_bytes, false) == 0);
	return 0;
}
