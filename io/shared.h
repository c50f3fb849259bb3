/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in shared memory, so that a successor process can take them over: a sparse file in memory,
 * mapped, whose pages cost memory only once written. It is a memfd, or, once a home is set, a
 * nameless file of that folder, to which linkat(2) can give a name that outlives every process.
 */
#ifndef VMSWAP_IO_SHARED_H
#define VMSWAP_IO_SHARED_H

#include <stdint.h>

struct shared {
	void *memory;
	uint64_t size_bytes;
	int fd;
};

/*
 * From now on tables are made in @folder, borrowed, which must be of a tmpfs: as long as all of
 * them together take @limit_bytes at most. A table of a tmpfs that is full could not be written.
 * -1: memfds again. Before threads are started.
 */
void shared_set_home(int folder, uint64_t limit_bytes);
/* Zeroed, @size_bytes rounded up to pages. -errno. Set-up threads. */
int shared_open(const char *name, uint64_t size_bytes, struct shared *ret_shared);
/* The same, and never in the home: nothing but descriptors leads to it. */
int shared_open_secret(const char *name, uint64_t size_bytes, struct shared *ret_shared);
/*
 * A predecessor's table: @fd is dup'ed. -EINVAL: it is not of that size, so it is not what the
 * caller takes it for. Set-up threads.
 */
int shared_adopt(int fd, uint64_t size_bytes, struct shared *ret_shared);
/* The first run of pages at or after @offset that were ever written: 0, or -ENXIO, or -errno. */
int shared_next_data(
	const struct shared *shared, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end);
/* A zeroed struct is fine. */
void shared_close(struct shared *shared);

#endif
