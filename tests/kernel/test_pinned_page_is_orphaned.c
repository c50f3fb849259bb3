/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why the dwell: I/O into a page that was pinned before zap and punch writes the old page. The VMM
 * never sees what it read. A registered io_uring buffer is the pin, so no timing is involved. As
 * long as the page is only zapped, nothing is lost.
 */
#include "kernel_fault.h"
#include "kernel_test.h"
#include "kernel_uring.h"

static void read_into(struct uring *ring, int fd, uint8_t *buffer)
{
	struct uring_done done;

	uring_read_fixed(ring, 1, fd, buffer, PAGE_BYTES, 0, 0);
	for (int i = 0; i < TEST_TIMEOUT_MS / 100; i++) {
		CHECK(uring_wait(ring, 100000) == 0);
		if (uring_reap(ring, &done, 1) == 1) {
			CHECK(done.result == (int32_t)PAGE_BYTES);
			return;
		}
	}
	CHECK(!"the read came to an end");
}

static int file_of(uint8_t value)
{
	const int fd = memfd_create("source", MFD_CLOEXEC);
	uint8_t page[PAGE_BYTES];

	memset(page, value, sizeof(page));
	CHECK(pwrite(fd, page, sizeof(page), 0) == (ssize_t)sizeof(page));
	return fd;
}

int main(int argc, char **argv)
{
	const struct machine machine = machine_new(2, 0);
	const struct iovec buffer = {machine.memory, PAGE_BYTES};
	struct uring *ring = ring_open(8, argc, argv);

	CHECK(uring_enable(ring) == 0);
	CHECK(uring_register_buffers(ring, &buffer, 1) == 0);

	zap(&machine, 0, 1);
	read_into(ring, file_of(0xa1), machine.memory);
	CHECK(machine.alias[0] == 0xa1);

	punch(&machine, 0, 1);
	read_into(ring, file_of(0xb2), machine.memory);
	CHECK(!has_message(machine.uffd));
	resolve_copy(&machine, 0, false);
	CHECK(machine.memory[0] == content_of(0));
	uring_close(ring);
	return 0;
}
