/* SPDX-License-Identifier: Apache-2.0 */
/* fallocate(PUNCH_HOLE) sends no REMOVE, neither the daemon's nor the VMM's own, also when asked
 * for. */
#include "kernel_fault.h"
#include "kernel_marks.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(8, UFFD_EVENT_DISCARD);

	punch(&machine, 0, 4);

	CHECK(!has_message(machine.uffd));
	CHECK(present_pages(&machine) == 0xf0);
	return 0;
}
