/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of a client share: client.c in the parent, child.c in the child. */
#ifndef VMSWAP_PERF_CLIENT_COMMAND_H
#define VMSWAP_PERF_CLIENT_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "perf/client/client.h"

enum client_command_kind {
	CLIENT_TOUCH,
	CLIENT_DIRTY,
	CLIENT_REFILL,
	CLIENT_ADVISE,
	CLIENT_RESIDENT,
	CLIENT_USERFAULTFD,
};

struct client_command {
	enum client_command_kind kind;
	int advice;
	struct touch touch; /* its order is the shared one */
	uint64_t uffd_features;
	uint64_t uffd_mode;
	bool uffd_is_blocking;
};

struct client_answer {
	int result; /* 0, a descriptor in the child, or -errno */
	uint64_t elapsed_ns;
	uint64_t cpu_ns;
	uint64_t touches;
	uint64_t bad_pages;
	uint64_t samples;
	uint64_t resident_pages;
};

/* Mapped by both. */
struct client_shared {
	_Atomic bool must_stop;		/* endless touches */
	_Atomic uint32_t begun_threads; /* have made their first touch */
	uint32_t *order;		/* arrays of CLIENT_SAMPLES_MAX */
	uint32_t *latency_ns;
	uint32_t *begin_us;
};

struct child {
	const struct client_config *config;
	struct client_shared *shared;
	uint64_t *memory;
	int socket;
};

/* Maps and fills the memory of @memfd (-1: private memory), at an address of the kernel's choice.
 * -errno. */
int child_map(struct child *child, int memfd);
/* Takes commands until the socket closes. */
void child_run(struct child *child);

#endif
