/* SPDX-License-Identifier: Apache-2.0 */
/* WRITEPROTECT(0) removes the marks of zapped and punched pages: what detach relies on. */
#include "kernel_marks.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(2, UFFD_WP | UFFD_WP_ASYNC_MARK);

	zap(&machine, 0, 2);
	resolve_continue(&machine, 0, true);
	resolve_continue(&machine, 1, true);
	zap(&machine, 0, 2);
	punch(&machine, 1, 1);
	CHECK(marked_pages(&machine) == 3);

	CHECK(uffd_unprotect(machine.uffd, address_of(&machine, 0), machine.size_bytes) == 0);

	CHECK(marked_pages(&machine) == 0);
	return 0;
}
