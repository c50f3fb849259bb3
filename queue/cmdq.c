/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/cmdq.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/ring.h"
#include "queue/wake.h"

struct lane {
	/* constant after cmdq_new() */
	struct ring *ring;
	/* any thread, atomics */
	struct wake wake;
};

struct cmdq {
	/* constant after cmdq_new(); counts the lanes that are set up while it runs */
	uint32_t lane_count;
	struct lane lanes[];
};

static_assert(sizeof(struct lane) % CACHE_LINE == 0, "lanes share no cache line");
static_assert(sizeof(struct cmdq) % CACHE_LINE == 0, "aligned_alloc() wants whole lines");

static struct lane *lane_get(struct cmdq *cmdq, uint32_t lane)
{
	ASSERT(lane < cmdq->lane_count);
	return &cmdq->lanes[lane];
}

static int lane_init(struct lane *lane, uint32_t capacity)
{
	struct ring *ring;
	int result = ring_new(capacity, &ring);

	if (result < 0)
		return result;
	result = wake_init(&lane->wake);
	if (result < 0) {
		ring_free(ring);
		return result;
	}
	lane->ring = ring;
	return 0;
}

int cmdq_new(uint32_t lane_count, uint32_t lane_capacity, struct cmdq **ret_cmdq)
{
	struct cmdq *cmdq;

	ASSERT(lane_count > 0);
	cmdq = aligned_alloc(CACHE_LINE, sizeof(*cmdq) + lane_count * sizeof(struct lane));
	if (!cmdq)
		return -ENOMEM;
	for (cmdq->lane_count = 0; cmdq->lane_count < lane_count; cmdq->lane_count++) {
		int result = lane_init(&cmdq->lanes[cmdq->lane_count], lane_capacity);

		if (result < 0) {
			cmdq_free(cmdq);
			return result;
		}
	}
	*ret_cmdq = cmdq;
	return 0;
}

void cmdq_free(struct cmdq *cmdq)
{
	if (!cmdq)
		return;
	for (uint32_t i = 0; i < cmdq->lane_count; i++) {
		ring_free(cmdq->lanes[i].ring);
		wake_destroy(&cmdq->lanes[i].wake);
	}
	free(cmdq);
}

bool cmdq_push_mpmc(struct cmdq *cmdq, uint32_t lane, void *command)
{
	struct lane *to = lane_get(cmdq, lane);

	if (!ring_push_mpmc(to->ring, command))
		return false;
	wake_notify(&to->wake);
	return true;
}

void *cmdq_pop_mpmc(struct cmdq *cmdq, uint32_t lane)
{
	return ring_pop_mpmc(lane_get(cmdq, lane)->ring);
}

uint32_t cmdq_count(const struct cmdq *cmdq, uint32_t lane)
{
	ASSERT(lane < cmdq->lane_count);
	return ring_count(cmdq->lanes[lane].ring);
}

struct wake *cmdq_wake(struct cmdq *cmdq, uint32_t lane)
{
	return &lane_get(cmdq, lane)->wake;
}

static uint64_t deadline_of(int timeout_ms)
{
	ASSERT(timeout_ms >= -1);
	if (timeout_ms < 0)
		return UINT64_MAX;
	return clock_ns() + (unsigned int)timeout_ms * NS_PER_MS;
}

/* What poll(2) wants; rounded up, so that it does not return before @deadline_ns. */
static int poll_ms(uint64_t deadline_ns)
{
	uint64_t now_ns = clock_ns();

	if (deadline_ns == UINT64_MAX)
		return -1;
	if (now_ns >= deadline_ns)
		return 0;
	return (int)MIN(divide_up(deadline_ns - now_ns, NS_PER_MS), INT_MAX);
}

void *cmdq_wait(struct cmdq *cmdq, uint32_t lane, int timeout_ms)
{
	struct lane *from = lane_get(cmdq, lane);
	uint64_t deadline_ns = deadline_of(timeout_ms);
	void *command = ring_pop_mpmc(from->ring);

	/* Bounded by the deadline; turns without an item are signals and late wake-ups. */
	while (!command) {
		struct pollfd sleep_on = {.fd = from->wake.eventfd, .events = POLLIN};
		int remaining_ms = poll_ms(deadline_ns);

		if (remaining_ms == 0)
			break;
		wake_prepare(&from->wake);
		command = ring_pop_mpmc(from->ring);
		if (!command)
			(void)poll(&sleep_on, 1, remaining_ms); /* @control poll */
		wake_done(&from->wake);
		if (!command)
			command = ring_pop_mpmc(from->ring);
	}
	return command;
}
