/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One multishot poll of an io_uring (SINGLE_ISSUER, DEFER_TASKRUN) reports each new fault of a
 * userfaultfd; cancelling it gives its last result, without URING_MORE.
 */
#include "kernel_fault.h"
#include "kernel_test.h"
#include "kernel_uring.h"

#define POLL_TOKEN   1
#define CANCEL_TOKEN 2

static struct uring_done await_result(struct uring *ring)
{
	struct uring_done done;

	for (int i = 0; i < TEST_TIMEOUT_MS / 100; i++) {
		if (uring_reap(ring, &done, 1) == 1)
			return done;
		CHECK(uring_wait(ring, 100000) == 0);
	}
	CHECK(!"a result came");
	return done;
}

static void check_fault(struct uring *ring, const struct machine *machine, uint32_t page)
{
	struct background reader = {0};
	struct uring_done done;

	start_read(&reader, machine, page);
	done = await_result(ring);
	CHECK(done.token == POLL_TOKEN);
	CHECK(done.result & POLLIN);
	CHECK(done.flags & URING_MORE);
	expect_fault(machine, UFFD_FAULT_MINOR, page, false);
	resolve_continue(machine, page, false);
	finish(&reader);
	CHECK(reader.value == content_of(page));
}

static void check_cancel(struct uring *ring)
{
	int32_t results[3] = {1, 1, 1};

	uring_poll_cancel(ring, CANCEL_TOKEN, POLL_TOKEN);
	for (int i = 0; i < 2; i++) {
		const struct uring_done done = await_result(ring);

		CHECK(done.flags == 0);
		results[done.token] = done.result;
	}
	CHECK(results[POLL_TOKEN] == -ECANCELED);
	CHECK(results[CANCEL_TOKEN] == 0);
}

int main(int argc, char **argv)
{
	const struct machine machine = machine_new(16, 0);
	struct uring *ring = ring_open(8, argc, argv);

	zap(&machine, 0, 16);
	CHECK(uring_enable(ring) == 0);
	uring_poll(ring, POLL_TOKEN, machine.uffd);
	CHECK(uring_submit(ring) == 0);

	for (uint32_t page = 0; page < 16; page++)
		check_fault(ring, &machine, page);
	check_cancel(ring);

	uring_close(ring);
	return 0;
}
