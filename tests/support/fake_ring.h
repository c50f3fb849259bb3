/* SPDX-License-Identifier: Apache-2.0 */
/* The rings of the fake world, for tests/support/fake_*.c. */
#ifndef VMSWAP_TESTS_FAKE_RING_H
#define VMSWAP_TESTS_FAKE_RING_H

#include <stdbool.h>
#include <stdint.h>

#define RINGS_MAX 8u

enum phase {
	PHASE_PREPARED,
	PHASE_SUBMITTED,
	PHASE_EFFECTIVE, /* done, nobody knows yet */
	PHASE_ENDED,
};

enum operation_kind {
	OPERATION_READ,
	OPERATION_WRITE,
	OPERATION_PUNCH,
	OPERATION_POLL,
	OPERATION_CANCEL,
};

struct operation {
	enum operation_kind kind;
	enum phase phase;
	uint64_t token, target;
	uint64_t chain; /* punches of one chain share it, and follow each other by order */
	uint64_t order;
	int fd;
	int32_t result;
	bool is_gone; /* a poll that ends */
	uint8_t *buffer;
	const struct iovec *vector;
	uint32_t count;
	uint64_t offset, size_bytes;
};

struct uring {
	bool is_enabled;
	uint32_t places, count;
	uint64_t order;
	struct operation *operation;
};

/* Those that are open; a daemon's are forgotten when it dies. */
extern struct uring *fake_rings[RINGS_MAX];

#endif
