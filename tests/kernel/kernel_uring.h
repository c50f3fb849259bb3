/* SPDX-License-Identifier: Apache-2.0 */
/* For kernel tests of io/uring.h: the ring, as an io_uring or, with the argument "threads", not. */
#ifndef VMSWAP_TESTS_KERNEL_URING_H
#define VMSWAP_TESTS_KERNEL_URING_H

#include "io/feature.h"
#include "io/uring.h"
#include "kernel_test.h"

static inline struct uring *ring_open(uint32_t depth, int argc, char **argv)
{
	const bool wants_threads = argc > 1 && strcmp(argv[1], "threads") == 0;
	struct uring *ring;

	if (wants_threads)
		feature_disable(FEATURE_IO_URING);
	CHECK(uring_open(depth, &ring) == 0);
	CHECK(!wants_threads || uring_refusal(ring) == -EOPNOTSUPP);
	if (!wants_threads && uring_refusal(ring) != 0)
		skip("no io_uring, or none with DEFER_TASKRUN (Linux 6.1)");
	return ring;
}

#endif
