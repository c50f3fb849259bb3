/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mremap of registered memory sends REMAP, then UNMAP for the range it left; the call waits for
 * both to be read. The new address is registered.
 */
#include "kernel_fault.h"
#include "kernel_test.h"

static uint8_t *target;

static void run_remap(struct background *background)
{
	void *moved = mremap((uint8_t *)(uintptr_t)background->address, background->size_bytes,
		background->size_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target);

	background->result = moved == target ? 0 : -errno;
}

int main(void)
{
	struct machine machine = machine_new(8, UFFD_EVENTS);
	struct background caller = {.address = machine.memory, .size_bytes = machine.size_bytes};
	struct background reader = {0};
	struct uffd_message moved;
	struct uffd_message unmapped;

	target = mmap(NULL, machine.size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(target != MAP_FAILED);
	zap(&machine, 0, 8);
	start(&caller, run_remap);
	moved = next_message(machine.uffd);
	unmapped = next_message(machine.uffd);
	finish(&caller);

	CHECK(caller.result == 0);
	CHECK(moved.kind == UFFD_MOVED);
	CHECK(moved.address == address_of(&machine, 0));
	CHECK(moved.end == address_of(&machine, 8));
	CHECK(moved.moved_to == (uintptr_t)target);
	CHECK(unmapped.kind == UFFD_UNMAPPED);
	CHECK(unmapped.address == moved.address && unmapped.end == moved.end);

	machine.memory = target;
	start_read(&reader, &machine, 3);
	expect_fault(&machine, UFFD_FAULT_MINOR, 3, false);
	resolve_continue(&machine, 3, false);
	finish(&reader);
	return 0;
}
