/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU-postcopy-style, written from a description of what it does, with none of its code:
 *
 *   client ──fault──► destination: fault thread ──request──► source (a process that has the pages)
 *          ◄──COPY───              listen thread ◄──page────
 *
 * The source answers each request at once (QEMU's preempt channel does so, too); its socket is
 * local, where a migration has a network.
 */
#ifndef VMSWAP_PERF_CONTESTANT_QEMU_H
#define VMSWAP_PERF_CONTESTANT_QEMU_H

#include <stdint.h>

#include "perf/contestant/handler.h"
#include "perf/contestant/stash.h"

/* In the lowest bit of the offset that comes before a page: it is zero, no contents follow. */
#define QEMU_PAGE_IS_ZERO ((uint64_t)1)

/* The destination's only command: all pages are with the source again. */
#define QEMU_FORGET 0u

struct qemu {
	struct handler source;
	struct handler destination;
	struct stash stash; /* the source's memory */
	int channel[2];	    /* a stream: the source's end, the destination's end */
	int uffd;	    /* -1 once the destination has it */
};

struct qemu_request {
	uint64_t offset;
	uint64_t size_bytes;
};

/* A handler_body. */
void qemu_destination_main(const struct contestant *self, int socket);

#endif
