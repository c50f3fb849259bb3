/* SPDX-License-Identifier: Apache-2.0 */
/* CONTINUE maps the page that is in the page cache: what the alias writes, the VMM's mapping shows.
 */
#include "kernel_fault.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(4, 0);

	zap(&machine, 0, 4);
	resolve_continue(&machine, 1, false);

	CHECK(machine.memory[PAGE_BYTES] == content_of(1));
	machine.alias[PAGE_BYTES] = 0x77;
	CHECK(machine.memory[PAGE_BYTES] == 0x77);
	machine.memory[PAGE_BYTES + 1] = 0x88;
	CHECK(machine.alias[PAGE_BYTES + 1] == 0x88);
	CHECK(!has_message(machine.uffd));
	return 0;
}
