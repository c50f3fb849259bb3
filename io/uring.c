/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of depth d is set up with 2 d submission and 2 d completion entries. d are for reads,
 * writes and punches, as many again for polls and cancels, which stay outside the caller's disk
 * budget. An operation holds its place from prepare to its last result, and more than 2 d places
 * are a bug of the caller: so neither queue can run out under the operations themselves. A
 * multishot poll may post more than one result; when those find the completion queue full the
 * kernel ends the poll with its last result (no URING_MORE) and the caller arms it again.
 *
 * Entering the kernel costs; uring_submit() does so only when something is prepared, or the kernel
 * says through the shared flags that it has deferred work or results that found no place
 * (TASKRUN_FLAG).
 */
#include "io/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <liburing.h>

#include "io/blocking.h"
#include "io/feature.h"
#include "io/puncher.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* The kernel's bound on ring sizes. */
#define DEPTH_MAX 16384u

/* Closing waits for what cannot be cancelled: 600 x 100 ms, longer than a disk's own time-outs. */
#define CLOSE_ROUNDS   600
#define CLOSE_ROUND_US 100000u
#define CLOSE_BATCH    64

struct uring {
	/* constant after uring_enable() */
	struct io_uring ring;
	struct blocking *blocking; /* instead of ring; NULL: io_uring it is */
	int refusal;
	struct puncher *puncher;
	uint32_t places;
	pid_t owner; /* thread id, 0 before uring_enable() */

	/* owner thread only */
	uint32_t in_flight; /* prepared, last result not reaped */
	uint32_t punches;   /* prepared, result not reaped; not among in_flight */
};

/* Of the poll of the puncher's eventfd, which callers never see. */
#define TOKEN_PUNCHER UINT64_MAX

static pid_t thread_id(void)
{
	return (pid_t)syscall(SYS_gettid); /* @control gettid */
}

/* The branch to the threads is there for few machines; the others must not feel it. */
static inline bool is_blocking(const struct uring *ring)
{
	return __builtin_expect(ring->blocking != NULL, false);
}

static int open_ring(struct uring *ring, uint32_t depth)
{
	struct io_uring_params parameters = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED |
			 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
		.cq_entries = 2 * depth,
	};

	if (feature_is_disabled(FEATURE_IO_URING))
		return -EOPNOTSUPP;
	/* @unfiltered io_uring_setup */
	return io_uring_queue_init_params(2 * depth, &ring->ring, &parameters);
}

static bool is_shortage(int error)
{
	return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -EAGAIN;
}

static void close_ring(struct uring *ring)
{
	if (ring->blocking)
		blocking_close(ring->blocking);
	else
		io_uring_queue_exit(&ring->ring); /* @control munmap close */
}

int uring_open(uint32_t depth, struct uring **ret_ring)
{
	CLEANUP_FREE struct uring *ring = calloc(1, sizeof(*ring));
	int result;

	ASSERT(is_power_of_two(depth));
	ASSERT(depth <= DEPTH_MAX);
	if (!ring)
		return -ENOMEM;
	ring->places = 2 * depth;
	result = open_ring(ring, depth);
	if (result < 0 && !is_shortage(result)) {
		ring->refusal = result;
		result = blocking_open(ring->places, &ring->blocking);
	}
	if (result < 0)
		return result;
	result = puncher_open(depth, &ring->puncher);
	if (result < 0) {
		close_ring(ring);
		return result;
	}
	*ret_ring = take_pointer(&ring);
	return 0;
}

int uring_refusal(const struct uring *ring)
{
	return ring->refusal;
}

/*
 * What has not ended after the bound is left to the kernel, which keeps the pages pinned until it
 * has.
 */
static void drain(struct uring *ring)
{
	struct io_uring_sync_cancel_reg everything = {
		.fd = -1,
		.flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
		.timeout = {.tv_sec = 0, .tv_nsec = 0},
	};
	struct uring_done done[CLOSE_BATCH];

	for (int round = 0; round < CLOSE_ROUNDS && ring->in_flight + ring->punches > 0; round++) {
		(void)uring_submit(ring);
		/* -ETIME and -ENOENT: not over yet, or nothing to cancel; the results tell. */
		/* @unfiltered io_uring_register */
		(void)io_uring_register_sync_cancel(&ring->ring, &everything);
		(void)uring_wait(ring, CLOSE_ROUND_US);
		(void)uring_reap(ring, done, CLOSE_BATCH);
	}
}

/*
 * A thread that ends takes its operations with it: the kernel cancels them and waits for them. So
 * only an owner that still lives, that is the caller, has anything to drain.
 */
void uring_close(struct uring *ring)
{
	if (!ring)
		return;
	ASSERT(ring->in_flight <= ring->places);
	if (ring->owner == thread_id() && !is_blocking(ring))
		drain(ring);
	puncher_close(ring->puncher);
	close_ring(ring);
	free(ring);
}

static void poll_puncher(struct uring *ring)
{
	uring_poll(ring, TOKEN_PUNCHER, puncher_eventfd(ring->puncher));
}

#define RESTRICT_REGISTER(call)                                                                    \
	{                                                                                          \
		.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = (call)                    \
	}
#define RESTRICT_OPERATION(operation)                                                              \
	{                                                                                          \
		.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = (operation)                         \
	}

/* No filter of system calls sees what a ring is asked for (filter.c): it does this and no more. */
static int restrict_ring(struct uring *ring)
{
	struct io_uring_restriction allowed[] = {
		RESTRICT_REGISTER(IORING_REGISTER_ENABLE_RINGS),
		RESTRICT_REGISTER(IORING_REGISTER_BUFFERS),
		RESTRICT_REGISTER(IORING_REGISTER_SYNC_CANCEL),
		RESTRICT_OPERATION(IORING_OP_READ_FIXED),
		RESTRICT_OPERATION(IORING_OP_WRITEV),
		RESTRICT_OPERATION(IORING_OP_FALLOCATE),
		RESTRICT_OPERATION(IORING_OP_POLL_ADD),
		RESTRICT_OPERATION(IORING_OP_POLL_REMOVE),
	};

	/* @unfiltered io_uring_register */
	return io_uring_register((unsigned int)ring->ring.ring_fd, IORING_REGISTER_RESTRICTIONS,
		allowed, ARRAY_SIZE(allowed));
}

/* liburing 2.3 declares io_uring_enable_rings() and does not export it. */
static int enable_ring(struct uring *ring)
{
	/* @unfiltered io_uring_register */
	return io_uring_register(
		(unsigned int)ring->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

int uring_enable(struct uring *ring)
{
	int result = 0;

	ASSERT(ring->owner == 0);
	if (!is_blocking(ring)) {
		result = restrict_ring(ring);
		if (result == 0)
			result = enable_ring(ring);
	}
	if (result < 0)
		return result;
	ring->owner = thread_id();
	poll_puncher(ring);
	return 0;
}

int uring_register_buffers(struct uring *ring, const struct iovec *buffers, uint32_t count)
{
	int result;

	ASSERT(ring->owner != 0);
	ASSERT(count > 0);
	if (is_blocking(ring))
		return 0;
	/* @unfiltered io_uring_register */
	result = io_uring_register_buffers(&ring->ring, buffers, count);
	return MIN(result, 0);
}

/* An operation takes its place. */
static inline void take_place(struct uring *ring)
{
	ASSERT(ring->owner != 0);
	ASSERT(ring->in_flight < ring->places);
	ring->in_flight++;
}

/* The next entry of the ring. */
static struct io_uring_sqe *uring_sqe(struct uring *ring)
{
	struct io_uring_sqe *entry;

	entry = io_uring_get_sqe(&ring->ring);
	if (!entry) {
		/* Prepared entries hold places, so this is out of reach while the queues are equal.
		 */
		(void)io_uring_submit(&ring->ring); /* @shard io_uring_enter */
		entry = io_uring_get_sqe(&ring->ring);
	}
	ASSERT(entry);
	return entry;
}

/* NOLINTNEXTLINE(readability-function-size): seven values, as the kernel takes them */
void uring_read_fixed(struct uring *ring, uint64_t token, int fd, void *buffer, uint32_t size_bytes,
	uint64_t offset, uint32_t buffer_index)
{
	struct io_uring_sqe *entry;

	ASSERT(size_bytes > 0);
	take_place(ring);
	if (is_blocking(ring)) {
		const struct iovec whole = {.iov_base = buffer, .iov_len = size_bytes};

		blocking_read(ring->blocking, token, fd, &whole, offset);
		return;
	}
	entry = uring_sqe(ring);
	io_uring_prep_read_fixed(entry, fd, buffer, size_bytes, offset, (int)buffer_index);
	io_uring_sqe_set_data64(entry, token);
}

void uring_writev(struct uring *ring, uint64_t token, int fd, const struct iovec *vector,
	uint32_t count, uint64_t offset)
{
	struct io_uring_sqe *entry;

	ASSERT(count > 0);
	take_place(ring);
	if (is_blocking(ring)) {
		blocking_writev(ring->blocking, token, fd, vector, count, offset);
		return;
	}
	entry = uring_sqe(ring);
	io_uring_prep_writev(entry, fd, vector, count, offset);
	io_uring_sqe_set_data64(entry, token);
}

void uring_punch(struct uring *ring, uint64_t token, int fd, uint64_t offset, uint64_t size_bytes)
{
	ASSERT(ring->owner != 0);
	ASSERT(size_bytes > 0);
	ring->punches++;
	puncher_push(ring->puncher, token, fd, offset, size_bytes);
}

void uring_discard(struct uring *ring, uint64_t token, int fd, uint64_t offset, uint64_t size_bytes)
{
	struct io_uring_sqe *entry;

	ASSERT(size_bytes > 0);
	take_place(ring);
	if (is_blocking(ring)) {
		blocking_discard(ring->blocking, token, fd, offset, size_bytes);
		return;
	}
	entry = uring_sqe(ring);
	io_uring_prep_fallocate(entry, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)offset, (off_t)size_bytes);
	io_uring_sqe_set_data64(entry, token);
}

void uring_poll(struct uring *ring, uint64_t token, int fd)
{
	struct io_uring_sqe *entry;

	ASSERT(fd >= 0);
	take_place(ring);
	if (is_blocking(ring)) {
		blocking_poll(ring->blocking, token, fd);
		return;
	}
	entry = uring_sqe(ring);
	io_uring_prep_poll_multishot(entry, fd, POLLIN);
	io_uring_sqe_set_data64(entry, token);
}

void uring_poll_cancel(struct uring *ring, uint64_t token, uint64_t target)
{
	struct io_uring_sqe *entry;

	ASSERT(token != target);
	take_place(ring);
	if (is_blocking(ring)) {
		blocking_poll_cancel(ring->blocking, token, target);
		return;
	}
	entry = uring_sqe(ring);
	io_uring_prep_poll_remove(entry, target);
	io_uring_sqe_set_data64(entry, token);
}

/* Interrupted, timed out, or the kernel is short of memory for the moment: what is prepared stays.
 */
static int ignore_transient(int result)
{
	switch (result) {
	case -EINTR:
	case -ETIME:
	case -EAGAIN:
	case -EBUSY: return 0;
	default: return MIN(result, 0);
	}
}

static bool kernel_has_work(const struct uring *ring)
{
	return IO_URING_READ_ONCE(*ring->ring.sq.kflags) &
	       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

int uring_submit(struct uring *ring)
{
	ASSERT(ring->owner != 0);
	puncher_kick(ring->puncher);
	if (is_blocking(ring)) {
		blocking_submit(ring->blocking);
		return 0;
	}
	if (io_uring_sq_ready(&ring->ring) == 0 && !kernel_has_work(ring))
		return 0;
	/* @shard io_uring_enter */
	return ignore_transient(io_uring_submit_and_get_events(&ring->ring));
}

static int wait_for_result(struct uring *ring, uint64_t timeout_us)
{
	struct __kernel_timespec timeout = {
		.tv_sec = (int64_t)MIN(timeout_us / (NS_PER_S / NS_PER_US), (uint64_t)INT32_MAX),
		.tv_nsec = (int64_t)(timeout_us % (NS_PER_S / NS_PER_US) * NS_PER_US),
	};
	struct io_uring_cqe *first;

	if (is_blocking(ring))
		return blocking_wait(ring->blocking, timeout_us);
	if (timeout_us == URING_FOREVER)
		return io_uring_submit_and_wait(&ring->ring, 1); /* @shard io_uring_enter */
	/* @shard io_uring_enter */
	return io_uring_submit_and_wait_timeout(&ring->ring, &first, 1, &timeout, NULL);
}

int uring_wait(struct uring *ring, uint64_t timeout_us)
{
	int result;

	ASSERT(ring->owner != 0);
	puncher_kick(ring->puncher);
	if (ring->punches == 0)
		return ignore_transient(wait_for_result(ring, timeout_us));
	if (puncher_prepare_sleep(ring->puncher))
		result = uring_submit(ring);
	else
		result = ignore_transient(wait_for_result(ring, timeout_us));
	puncher_awake(ring->puncher);
	return result;
}

static uint32_t reap_punches(struct uring *ring, struct uring_done *ret_done, uint32_t max)
{
	struct punched punched;
	uint32_t count = 0;

	while (ring->punches > 0 && count < max && puncher_pop(ring->puncher, &punched)) {
		ret_done[count++] =
			(struct uring_done){.token = punched.token, .result = punched.result};
		ring->punches--;
	}
	return count;
}

/* The puncher's eventfd is ours to look after; its results lie elsewhere. */
static void handle_puncher(struct uring *ring, bool stays_armed)
{
	puncher_drain(ring->puncher);
	if (!stays_armed)
		poll_puncher(ring);
}

/* One result; false when there is none. */
static inline bool take(struct uring *ring, struct uring_done *ret_done)
{
	struct io_uring_cqe *entry;

	if (is_blocking(ring))
		return blocking_take(ring->blocking, ret_done);
	if (io_uring_peek_cqe(&ring->ring, &entry) != 0) /* @shard io_uring_enter */
		return false;
	*ret_done = (struct uring_done){
		.token = entry->user_data,
		.result = entry->res,
		.flags = entry->flags & IORING_CQE_F_MORE ? URING_MORE : 0,
	};
	io_uring_cqe_seen(&ring->ring, entry);
	return true;
}

uint32_t uring_reap(struct uring *ring, struct uring_done *ret_done, uint32_t max)
{
	uint32_t count = reap_punches(ring, ret_done, max);
	struct uring_done done;

	while (count < max && take(ring, &done)) {
		if (!(done.flags & URING_MORE)) {
			ASSERT(ring->in_flight > 0);
			ring->in_flight--;
		}
		if (done.token == TOKEN_PUNCHER)
			handle_puncher(ring, (done.flags & URING_MORE) != 0);
		else
			ret_done[count++] = done;
	}
	return count;
}
