/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why no wake-up is lost: let S be the sleeper's store of asleep = 1 and P a producer's push. Each
 * side has a full fence between its store and its load, and of two full fences one comes first:
 *
 *   producer's first   the sleeper's look at the queue sees P: it does not sleep, or wakes up soon
 *   sleeper's first    the producer sees S and writes the eventfd
 *
 * The producer that sees the flag takes it (asleep = 0), so a burst of pushes pays for one write.
 * The others then see 0 and write nothing, which is safe: a write for this sleep is under way, and
 * before the next sleep the sleeper stores the flag anew and looks again, so the argument starts
 * afresh.
 *
 * A producer preempted between taking the flag and its write delivers that write late: a spurious
 * wake-up, which sleepers must stand anyway. That is why wake_done() drains without asking whether
 * this sleep was the one notified; a token left behind would make every later sleep return at once.
 */
#include "queue/wake.h"

#include <stdatomic.h>
#include <sys/eventfd.h>

#include <ck_pr.h>

#include "queue/base/assert.h"
#include "queue/base/err.h"

static_assert(sizeof(struct wake) == CACHE_LINE, "sleepers share no cache line");

int wake_init(struct wake *wake)
{
	int fd = errno_of(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); /* @control eventfd2 */

	if (fd < 0)
		return fd;
	wake->eventfd = fd;
	atomic_init(&wake->asleep, 0);
	return 0;
}

void wake_destroy(struct wake *wake)
{
	close_fd(wake->eventfd); /* @control close */
	wake->eventfd = -1;
}

void wake_prepare(struct wake *wake)
{
	ASSERT(wake->eventfd >= 0);
	atomic_store_explicit(&wake->asleep, 1, memory_order_relaxed);
	/* pairs with wake.c:wake_notify(): the flag is visible before the queue is looked at again
	 */
	ck_pr_fence_memory();
}

void wake_leave(struct wake *wake)
{
	/* Relaxed: a producer that still sees 1 writes once too often, no more. */
	atomic_store_explicit(&wake->asleep, 0, memory_order_relaxed);
}

void wake_drain(struct wake *wake)
{
	uint64_t count;
	/* @shard @disk @control read */
	const ssize_t result = read(wake->eventfd, &count, sizeof(count));

	ASSERT(result == sizeof(count) || errno == EAGAIN);
}

void wake_done(struct wake *wake)
{
	ASSERT(wake->eventfd >= 0);
	wake_leave(wake);
	wake_drain(wake);
}

void wake_notify(struct wake *wake)
{
	const uint64_t one = 1;
	ssize_t result;

	ASSERT(wake->eventfd >= 0);
	/* pairs with wake.c:wake_prepare(): the push is visible before the flag is read */
	ck_pr_fence_memory();
	if (!atomic_load_explicit(&wake->asleep, memory_order_relaxed))
		return;
	/* Relaxed: taking the flag orders nothing, the eventfd's own lock orders push and wake-up.
	 */
	if (!atomic_exchange_explicit(&wake->asleep, 0, memory_order_relaxed))
		return;
	/* EAGAIN: the counter is at its maximum, so the sleeper is being woken already. */
	result = write(wake->eventfd, &one, sizeof(one)); /* @shard @disk @control write */
	ASSERT(result == sizeof(one) || errno == EAGAIN);
}
