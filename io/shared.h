/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in shared memory, so that a successor process can take them over: a sparse memfd, mapped,
 * whose pages cost memory only once written.
 */
#ifndef VMSWAP_IO_SHARED_H
#define VMSWAP_IO_SHARED_H

#include <stdint.h>

struct shared {
	void *memory;
	uint64_t size_bytes;
	int fd;
};

/* Zeroed, @size_bytes rounded up to pages. -errno. Set-up threads. */
int shared_open(const char *name, uint64_t size_bytes, struct shared *ret_shared);
/* A zeroed struct is fine. */
void shared_close(struct shared *shared);

#endif
