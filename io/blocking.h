/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What uring.c does with io_uring, without it; part of uring.c, for machines where io_uring is
 * switched off (sysctl kernel.io_uring_disabled), filtered away, or too old. A few threads call
 * pread, pwritev and fallocate; the owner sleeps on an epoll. Same tokens, same results, slower: an
 * operation costs two context switches more, and as many are under way as there are threads.
 *
 * Reads have threads of their own, so that a fault never waits for writes.
 *
 * All calls are the owner's. The caller keeps within the places: an operation holds one from its
 * call to its last result.
 */
#ifndef VMSWAP_IO_BLOCKING_H
#define VMSWAP_IO_BLOCKING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct blocking;
struct uring_done;

/* @places: operations at a time, polls and cancels included; a power of two. -errno. */
int blocking_open(uint32_t places, struct blocking **ret_blocking);
/*
 * What has not begun is not done. Waits for what has, up to a minute; a thread that hangs in the
 * kernel for longer is left there, with the memory it needs. NULL is fine.
 */
void blocking_close(struct blocking *blocking);

/* As their partners of uring.h. */
void blocking_read(struct blocking *blocking, uint64_t token, int fd, const struct iovec *buffer,
	uint64_t offset);
void blocking_writev(struct blocking *blocking, uint64_t token, int fd, const struct iovec *vector,
	uint32_t count, uint64_t offset);
void blocking_discard(
	struct blocking *blocking, uint64_t token, int fd, uint64_t offset, uint64_t size_bytes);
void blocking_poll(struct blocking *blocking, uint64_t token, int fd);
void blocking_poll_cancel(struct blocking *blocking, uint64_t token, uint64_t target);

void blocking_submit(struct blocking *blocking);
int blocking_wait(struct blocking *blocking, uint64_t timeout_us);
/* Takes one result; false when there is none. */
bool blocking_take(struct blocking *blocking, struct uring_done *ret_done);

#endif
