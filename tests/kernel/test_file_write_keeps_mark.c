/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why every mapper must be attached: pwrite(2) on the memfd and a write through another mapping
 * change the page and leave the mark.
 */
#include "kernel_marks.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(3, UFFD_WP | UFFD_WP_ASYNC_MARK);
	const uint8_t byte = 0xee;

	zap(&machine, 0, 3);
	for (uint32_t page = 0; page < 3; page++)
		resolve_continue(&machine, page, true);

	CHECK(pwrite(machine.memfd, &byte, 1, 0) == 1);
	machine.alias[PAGE_BYTES] = byte;
	zap(&machine, 0, 3);

	CHECK(marked_pages(&machine) == 7);
	return 0;
}
