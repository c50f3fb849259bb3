/* SPDX-License-Identifier: Apache-2.0 */
/* MADV_DONTNEED_LOCKED on a shared mapping unmaps, keeps the content, and the next touch says
 * MINOR. */
#include "kernel_fault.h"
#include "kernel_marks.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(8, 0);
	struct background reader = {0};
	uint64_t cached;

	CHECK(present_pages(&machine) == 0xff);
	zap(&machine, 2, 4);
	CHECK(present_pages(&machine) == 0xc3);
	CHECK(guest_cached_bytes(machine.memfd, &cached) == 0);
	CHECK(cached == machine.size_bytes);

	start_read(&reader, &machine, 3);
	expect_fault(&machine, UFFD_FAULT_MINOR, 3, false);
	resolve_continue(&machine, 3, false);
	finish(&reader);

	CHECK(reader.value == content_of(3));
	return 0;
}
