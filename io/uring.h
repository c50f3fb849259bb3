/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One io_uring a shard: the shard's only wait point, and the way of all its disk I/O and punches.
 * Where the machine refuses io_uring, threads do the same (blocking.h), slower.
 *
 * Opened by any thread, disabled; uring_enable() binds it to the thread that calls it, and from
 * then on only that thread may call (IORING_SETUP_SINGLE_ISSUER | DEFER_TASKRUN). Submissions
 * collect until uring_submit() or uring_wait(). The caller keeps within the depth it asked for: a
 * full submission queue is submitted at once, and running out of completions cannot happen because
 * every prepared operation holds a place in the completion queue.
 *
 * Results are values: {token, result, flags}; nothing is called back.
 */
#ifndef VMSWAP_IO_URING_H
#define VMSWAP_IO_URING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct uring;

/* Set in flags when a multishot operation stays armed. */
#define URING_MORE 1u

struct uring_done {
	uint64_t token;
	int32_t result; /* bytes, poll mask, 0, or -errno */
	uint32_t flags;
};

/*
 * @depth: reads, writes and punches in flight, a power of two; as many polls and cancels fit beside
 * them. More than twice @depth in all is an assertion. -errno when the machine lacks something; a
 * machine that refuses io_uring as such is none.
 */
int uring_open(uint32_t depth, struct uring **ret_ring);
/* 0 when it is an io_uring; otherwise why not: -errno of io_uring_setup(2), -EOPNOTSUPP: masked. */
int uring_refusal(const struct uring *ring);
/*
 * NULL is fine. By the owner: operations in flight are cancelled and waited for. By another thread:
 * only after the owner has ended (which cancels and waits as well), or when it was never enabled.
 */
void uring_close(struct uring *ring);
/* On the owner thread, once, before anything below. */
int uring_enable(struct uring *ring);
/* @buffers are known to the kernel afterwards as index 0…@count-1. Owner thread. */
int uring_register_buffers(struct uring *ring, const struct iovec *buffers, uint32_t count);

/* Each prepares one operation; @token comes back with its result. Owner thread, never blocks. */
void uring_read_fixed(struct uring *ring, uint64_t token, int fd, void *buffer, uint32_t size_bytes,
	uint64_t offset, uint32_t buffer_index);
/* @vector must live until the result is there. */
void uring_writev(struct uring *ring, uint64_t token, int fd, const struct iovec *vector,
	uint32_t count, uint64_t offset);
/*
 * fallocate(PUNCH_HOLE | KEEP_SIZE) of guest memory, on a thread of the ring's own (puncher.h),
 * never on the caller. Punches run and end in the order in which they were prepared; one that fails
 * does not keep the next from running, so look at each result.
 */
void uring_punch(struct uring *ring, uint64_t token, int fd, uint64_t offset, uint64_t size_bytes);
/* The same call for the space of a swap file, which can take long: on a kernel worker. */
void uring_discard(
	struct uring *ring, uint64_t token, int fd, uint64_t offset, uint64_t size_bytes);
/*
 * Multishot poll for input: a result each time something arrives at @fd, while URING_MORE is set;
 * without it, arm again. Edge triggered: what a reader leaves unread is not reported again.
 */
void uring_poll(struct uring *ring, uint64_t token, int fd);
/* Ends the poll armed with @target; that poll's own last result still comes, without URING_MORE. */
void uring_poll_cancel(struct uring *ring, uint64_t token, uint64_t target);

/*
 * Hands prepared operations to the kernel and runs its deferred work; no system call when there is
 * neither. 0 or -errno; what the kernel puts off for the moment (EINTR, EAGAIN, EBUSY) counts as 0.
 */
int uring_submit(struct uring *ring);
/* Of uring_wait(): until a result is there, however long. Spares the kernel a timer. */
#define URING_FOREVER UINT64_MAX
/* As uring_submit(), then sleeps until a result is there or @timeout_us has passed. */
int uring_wait(struct uring *ring, uint64_t timeout_us);
/* Takes up to @max results. */
uint32_t uring_reap(struct uring *ring, struct uring_done *ret_done, uint32_t max);

#endif
