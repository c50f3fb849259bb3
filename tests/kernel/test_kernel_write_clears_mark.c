/* SPDX-License-Identifier: Apache-2.0 */
/* A write by the kernel (read(2) into the page) clears the mark of exactly the pages it touches. */
#include "kernel_marks.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(4, UFFD_WP | UFFD_WP_ASYNC_MARK);
	uint8_t bytes[64] = {1};
	int pipes[2];

	CHECK(pipe(pipes) == 0);
	zap(&machine, 0, 4);
	for (uint32_t page = 0; page < 4; page++)
		resolve_continue(&machine, page, true);

	CHECK(write(pipes[1], bytes, sizeof(bytes)) == sizeof(bytes));
	CHECK(read(pipes[0], page_of(&machine, 2), sizeof(bytes)) == sizeof(bytes));
	zap(&machine, 0, 4);

	CHECK(marked_pages(&machine) == (1 << 0 | 1 << 1 | 1 << 3));
	return 0;
}
