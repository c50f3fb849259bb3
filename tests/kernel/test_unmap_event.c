/* SPDX-License-Identifier: Apache-2.0 */
/* munmap of registered memory sends UNMAP with its bounds, and waits until it is read. */
#include "kernel_fault.h"
#include "kernel_test.h"

static void run_unmap(struct background *background)
{
	background->result =
		munmap((uint8_t *)(uintptr_t)background->address, background->size_bytes);
}

int main(void)
{
	const struct machine machine = machine_new(8, UFFD_EVENTS);
	struct background caller = {.size_bytes = 2 * PAGE_BYTES};
	struct uffd_message message;
	uint64_t done;

	caller.address = page_of(&machine, 4);
	start(&caller, run_unmap);
	await_message(machine.uffd);
	CHECK(!is_over(&caller));
	message = next_message(machine.uffd);
	finish(&caller);

	CHECK(caller.result == 0);
	CHECK(message.kind == UFFD_UNMAPPED);
	CHECK(message.address == address_of(&machine, 4));
	CHECK(message.end == address_of(&machine, 6));
	CHECK(uffd_continue(machine.uffd, address_of(&machine, 4), PAGE_BYTES, false, &done) ==
		-ENOENT);
	return 0;
}
