/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page that came by COPY or CONTINUE with the WP mode keeps its mark through the zap unless it
 * was written, and PAGEMAP_SCAN (SWAPPED, not WRITTEN) tells the two apart. A second zap and a
 * punch keep it.
 */
#include "kernel_fault.h"
#include "kernel_marks.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(6, UFFD_WP | UFFD_WP_ASYNC_MARK);

	punch(&machine, 0, 2);
	resolve_copy(&machine, 0, true);
	resolve_copy(&machine, 1, true);
	zap(&machine, 2, 3);
	resolve_continue(&machine, 2, true);
	resolve_continue(&machine, 3, true);
	resolve_continue(&machine, 4, false);
	CHECK(marked_pages(&machine) == 0); /* mapped pages are not in question */

	machine.memory[1 * PAGE_BYTES] = 0xee;
	machine.memory[3 * PAGE_BYTES] = 0xee;
	zap(&machine, 0, 6);

	CHECK(marked_pages(&machine) == (1 << 0 | 1 << 2));
	zap(&machine, 0, 6);
	CHECK(marked_pages(&machine) == (1 << 0 | 1 << 2));
	punch(&machine, 0, 6);
	CHECK(marked_pages(&machine) == (1 << 0 | 1 << 2));
	CHECK(!has_message(machine.uffd)); /* the kernel settled the writes by itself */
	return 0;
}
