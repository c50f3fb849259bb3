/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With EVENT_REMOVE a madvise of the VMM sleeps until its event is read (not answered), and the
 * resolving calls of that userfaultfd say EAGAIN until then. The event of MADV_DONTNEED on a shared
 * mapping does not mean that the data is gone.
 */
#include "kernel_fault.h"
#include "kernel_test.h"

static void run_discard(struct background *background)
{
	background->result = madvise(
		(uint8_t *)(uintptr_t)background->address, background->size_bytes, MADV_DONTNEED);
}

static void check_again(const struct machine *machine)
{
	static uint8_t source[PAGE_BYTES] __attribute__((aligned(4096)));
	struct uffd_call call;
	uint64_t done = 77;

	CHECK(uffd_copy(machine->uffd, &call, address_of(machine, 7), source, PAGE_BYTES, false) ==
		-EAGAIN);
	CHECK(uffd_call_done(&call) == 0);
	CHECK(uffd_continue(machine->uffd, address_of(machine, 6), PAGE_BYTES, false, &done) ==
		-EAGAIN);
	CHECK(uffd_zero(machine->uffd, address_of(machine, 7), PAGE_BYTES, &done) == -EAGAIN);
}

int main(void)
{
	const struct machine machine = machine_new(8, UFFD_EVENT_DISCARD);
	struct background discarder = {.size_bytes = 2 * PAGE_BYTES};
	struct uffd_message message;

	punch(&machine, 7, 1);
	discarder.address = page_of(&machine, 2);
	start(&discarder, run_discard);
	await_message(machine.uffd);
	check_again(&machine);
	CHECK(!is_over(&discarder));
	message = next_message(machine.uffd);
	finish(&discarder);

	CHECK(discarder.result == 0);
	CHECK(message.kind == UFFD_REMOVED);
	CHECK(message.address == address_of(&machine, 2));
	CHECK(message.end == address_of(&machine, 4));
	CHECK(machine.alias[2 * PAGE_BYTES] == content_of(2));
	resolve_copy(&machine, 7, false);
	return 0;
}
