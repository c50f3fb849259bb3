/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring opened disabled by one thread belongs to the thread that enables it: others get EEXIST.
 * Its owner hears of deferred work by spinning on uring_submit() alone, and once it has ended with
 * operations in flight, another thread may close the ring.
 */
#include <sched.h>

#include "kernel_fault.h"
#include "kernel_test.h"
#include "kernel_uring.h"

#include "queue/base/clock.h"

static struct machine machine;
static struct uring *ring;
static int turns[2];

static struct uring_done spin(void)
{
	const uint64_t end = clock_ns() + TEST_TIMEOUT_MS * NS_PER_MS;
	struct uring_done done;

	while (clock_ns() < end) {
		CHECK(uring_submit(ring) == 0);
		if (uring_reap(ring, &done, 1) == 1)
			return done;
		CHECK(sched_yield() == 0);
	}
	CHECK(!"a result came");
	return done;
}

/* Owner: arm, hear of one fault by spinning, say so, and end with the poll armed. */
static void run_owner(struct background *background)
{
	struct background reader = {0};
	struct uring_done done;
	uint8_t byte;

	CHECK(uring_enable(ring) == 0);
	uring_poll(ring, 1, machine.uffd);
	CHECK(uring_submit(ring) == 0);
	start_read(&reader, &machine, 2);
	done = spin();
	CHECK(done.token == 1 && done.flags == URING_MORE);
	expect_fault(&machine, UFFD_FAULT_MINOR, 2, false);
	resolve_continue(&machine, 2, false);
	finish(&reader);

	CHECK(write(turns[1], "", 1) == 1);
	CHECK(read(background->result, &byte, 1) == 1);
}

int main(int argc, char **argv)
{
	struct background owner = {0};
	struct uring_done done;
	int answers[2];
	uint8_t byte;

	machine = machine_new(4, 0);
	CHECK(pipe(turns) == 0 && pipe(answers) == 0);
	owner.result = answers[0];
	zap(&machine, 0, 4);
	ring = ring_open(8, argc, argv);
	start(&owner, run_owner);
	CHECK(read(turns[0], &byte, 1) == 1);
	CHECK(uring_wait(ring, 1000) == -EEXIST);
	CHECK(uring_reap(ring, &done, 1) == 0);
	CHECK(write(answers[1], "", 1) == 1);
	finish(&owner);

	uring_close(ring);
	return 0;
}
