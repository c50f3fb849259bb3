/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hazard of rule 1b: CONTINUE with the WP mode on a page that was written since its mark was
 * set arms the mark again, and the next scan takes the page for clean. CONTINUE without it drops a
 * mark.
 */
#include "kernel_marks.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(2, UFFD_WP | UFFD_WP_ASYNC_MARK);

	zap(&machine, 0, 2);
	resolve_continue(&machine, 0, true);
	resolve_continue(&machine, 1, true);
	machine.memory[0] = 0xee;
	zap(&machine, 0, 2);
	CHECK(marked_pages(&machine) == 1 << 1);

	resolve_continue(&machine, 0, true);
	resolve_continue(&machine, 1, false);
	zap(&machine, 0, 2);

	CHECK(marked_pages(&machine) == 1 << 0);
	CHECK(machine.alias[0] == 0xee);
	return 0;
}
