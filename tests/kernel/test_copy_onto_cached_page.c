/* SPDX-License-Identifier: Apache-2.0 */
/* COPY and ZEROPAGE never overwrite: EEXIST on a page that is mapped or only in the page cache. */
#include "kernel_test.h"

int main(void)
{
	static uint8_t source[PAGE_BYTES] __attribute__((aligned(4096)));
	const struct machine machine = machine_new(4, 0);
	struct uffd_call call;
	uint64_t done = 77;

	zap(&machine, 1, 1);

	for (uint32_t page = 0; page < 2; page++) {
		CHECK(uffd_copy(machine.uffd, &call, address_of(&machine, page), source, PAGE_BYTES,
			      false) == -EEXIST);
		CHECK(uffd_call_done(&call) == 0);
	}
	CHECK(uffd_zero(machine.uffd, address_of(&machine, 0), PAGE_BYTES, &done) == -EEXIST);
	CHECK(machine.alias[PAGE_BYTES] == content_of(1));
	CHECK(machine.memory[0] == content_of(0));
	return 0;
}
