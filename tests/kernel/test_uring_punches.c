/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring's thread punches a memfd; punches run and complete in order. One that fails does not
 * stop those behind it, and each result tells the truth about its own range. Space of a file is
 * given back by io_uring itself.
 */
#include <sys/stat.h>

#include "kernel_marks.h"
#include "kernel_test.h"
#include "kernel_uring.h"

static void await_results(struct uring *ring, struct uring_done *ret_done, uint32_t count)
{
	uint32_t got = 0;

	for (int i = 0; i < TEST_TIMEOUT_MS / 100 && got < count; i++) {
		CHECK(uring_wait(ring, 100000) == 0);
		got += uring_reap(ring, ret_done + got, count - got);
	}
	CHECK(got == count);
}

static void check_order(struct uring *ring, const struct machine *machine)
{
	struct uring_done done[8];

	for (uint32_t page = 0; page < 8; page++)
		uring_punch(ring, page, machine->memfd, page * PAGE_BYTES, PAGE_BYTES);
	await_results(ring, done, 8);
	for (uint32_t i = 0; i < 8; i++) {
		CHECK(done[i].token == i);
		CHECK(done[i].result == 0);
	}
	CHECK(present_pages(machine) == 0xff00);
}

static void check_failure(struct uring *ring, const struct machine *machine)
{
	const int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int32_t results[4] = {1, 1, 1, 1};
	struct uring_done done[4];

	uring_punch(ring, 0, machine->memfd, 8 * PAGE_BYTES, PAGE_BYTES);
	uring_punch(ring, 1, read_only, 9 * PAGE_BYTES, PAGE_BYTES);
	uring_punch(ring, 2, machine->memfd, 10 * PAGE_BYTES, PAGE_BYTES);
	uring_punch(ring, 3, machine->memfd, 11 * PAGE_BYTES, PAGE_BYTES);
	await_results(ring, done, 4);
	for (uint32_t i = 0; i < 4; i++)
		results[done[i].token] = done[i].result;

	CHECK(results[0] == 0);
	CHECK(results[1] == -EBADF);
	CHECK(results[2] == 0);
	CHECK(results[3] == 0);
	CHECK(present_pages(machine) == 0xf200);
}

static void check_discard(struct uring *ring, const struct machine *machine)
{
	struct uring_done done[1];

	uring_discard(ring, 7, machine->memfd, 9 * PAGE_BYTES, PAGE_BYTES);
	await_results(ring, done, 1);

	CHECK(done[0].token == 7);
	CHECK(done[0].result == 0);
	CHECK(present_pages(machine) == 0xf000);
}

int main(int argc, char **argv)
{
	const struct machine machine = machine_new(16, 0);
	struct uring *ring = ring_open(16, argc, argv);

	CHECK(uring_enable(ring) == 0);

	check_order(ring, &machine);
	check_failure(ring, &machine);
	check_discard(ring, &machine);

	uring_close(ring);
	return 0;
}
