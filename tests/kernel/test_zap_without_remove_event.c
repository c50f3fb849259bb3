/* SPDX-License-Identifier: Apache-2.0 */
/* Without EVENT_REMOVE the zap waits for nobody and sends nothing. */
#include "kernel_fault.h"
#include "kernel_marks.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(8, UFFD_EVENTS);

	zap(&machine, 0, 8);

	CHECK(!has_message(machine.uffd));
	CHECK(present_pages(&machine) == 0);
	return 0;
}
