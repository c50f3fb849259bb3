/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With a copy of the descriptor kept, a fault that a dead reader took waits on, and is not to be
 * read again; WAKE makes the thread fault anew, and whoever has the copy serves it.
 */
#include "kernel_fault.h"
#include "kernel_test.h"

int main(void)
{
	struct machine machine = machine_new(2, 0);
	struct background reader = {.value = 0xff};
	const int copy = fcntl(machine.uffd, F_DUPFD_CLOEXEC, 0);

	CHECK(copy >= 0);
	punch(&machine, 1, 1);
	start_read(&reader, &machine, 1);
	expect_fault(&machine, UFFD_FAULT_MISSING, 1, false);
	CHECK(close(machine.uffd) == 0);
	CHECK(!is_over(&reader));
	CHECK(!has_message(copy));

	machine.uffd = copy;
	CHECK(uffd_wake(copy, address_of(&machine, 0), machine.size_bytes) == 0);
	expect_fault(&machine, UFFD_FAULT_MISSING, 1, false);
	resolve_copy(&machine, 1, false);
	finish(&reader);

	CHECK(reader.value == content_of(1));
	return 0;
}
