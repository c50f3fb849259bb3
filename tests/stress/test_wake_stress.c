/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ping-pong: two threads, each sleeping by the wake protocol, with random delays in the gaps where
 * a wake-up could be lost. A lost one leaves a sleeper with an item in its ring; the deadline of
 * the sleep tells.
 *
 * Meeting: the window that the two full fences close is nanoseconds wide, and a ping-pong whose
 * partners wait for one another hardly meets it. Here both start each round together, and the
 * sleeper goes later when it was too early and earlier when it was too late, which keeps the two in
 * the window: after each round the sleeper must have the item or a token.
 */
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "queue/ring.h"
#include "queue/wake.h"
#include "tests/stress/stress.h"

#define MEETINGS       600000u
#define ROUNDS	       100000u
#define DEADLINE_MS    30000
#define DELAY_MAX_LOG2 16
#define JITTER	       16u

struct side {
	struct ring *inbox;
	struct wake wake;
	struct side *peer;
	uint64_t random;
	uint64_t sleeps;
	int cpu;
	bool serves;
};

struct ball {
	uint32_t hits;
};

/*
 * Log-uniform: gaps as narrow as in production are as likely as gaps as long as a wake-up across
 * CPUs takes, so that both players are often awake and meet in the middle of the protocol.
 */
static void delay(struct side *side)
{
	uint64_t limit = 1ull << stress_random(&side->random) % DELAY_MAX_LOG2;
	uint64_t turns = stress_random(&side->random) % limit;

	for (volatile uint64_t i = 0; i < turns; i++)
		;
}

/* NULL: was woken, or need not sleep; look again. */
static struct ball *sleep_once(struct side *side)
{
	struct pollfd sleep_on = {.fd = side->wake.eventfd, .events = POLLIN};
	struct ball *ball;

	wake_prepare(&side->wake);
	delay(side);
	ball = ring_pop_mpmc(side->inbox);
	if (!ball) {
		delay(side);
		CHECK(poll(&sleep_on, 1, DEADLINE_MS) == 1);
		side->sleeps++;
	}
	delay(side);
	wake_done(&side->wake);
	return ball;
}

static struct ball *receive(struct side *side)
{
	struct ball *ball = ring_pop_mpmc(side->inbox);

	while (!ball) {
		delay(side);
		ball = sleep_once(side);
		if (!ball)
			ball = ring_pop_mpmc(side->inbox);
	}
	return ball;
}

static void send(struct side *side, struct ball *ball)
{
	ball->hits++;
	CHECK(ring_push_mpmc(side->peer->inbox, ball));
	delay(side);
	wake_notify(&side->peer->wake);
}

static void *play(void *argument)
{
	struct side *side = argument;
	struct ball ball = {0};

	stress_pin(side->cpu);
	if (side->serves)
		send(side, &ball);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct ball *received = receive(side);

		CHECK(received->hits == 2 * round + (side->serves ? 2 : 1));
		if (!side->serves || round + 1 < ROUNDS)
			send(side, received);
	}
	return NULL;
}

static void match(const char *name, int first_cpu, int second_cpu)
{
	struct side sides[2] = {{.random = 0x9e3779b97f4a7c15, .cpu = first_cpu, .serves = true},
		{.random = 0xd1b54a32d192ed03, .cpu = second_cpu}};
	pthread_t players[2];

	for (int i = 0; i < 2; i++) {
		CHECK(ring_new(2, &sides[i].inbox) == 0);
		CHECK(wake_init(&sides[i].wake) == 0);
		sides[i].peer = &sides[1 - i];
	}
	for (int i = 0; i < 2; i++)
		players[i] = stress_start(play, &sides[i]);
	for (int i = 0; i < 2; i++)
		stress_join(players[i]);
	for (int i = 0; i < 2; i++) {
		CHECK(ring_count(sides[i].inbox) == 0);
		ring_free(sides[i].inbox);
		wake_destroy(&sides[i].wake);
	}
	(void)printf("%s: %u ping-pongs, %llu + %llu sleeps, none for ever\n", name, ROUNDS,
		(unsigned long long)sides[0].sleeps, (unsigned long long)sides[1].sleeps);
	(void)fflush(stdout);
}

struct meeting {
	struct ring *inbox;
	struct wake wake;
	/* rounds that the sleeper (0) and the producer (1) have reached */
	_Alignas(CACHE_LINE) _Atomic uint32_t reached[2];
};

static void spin(uint64_t turns)
{
	for (volatile uint64_t i = 0; i < turns; i++)
		;
}

static void meet(struct meeting *meeting, int me, uint32_t round)
{
	_Atomic uint32_t *other = &meeting->reached[1 - me];

	atomic_store_explicit(&meeting->reached[me], round, memory_order_release);
	for (uint32_t i = 1; atomic_load_explicit(other, memory_order_acquire) < round; i++)
		if (i % 4096 == 0)
			(void)sched_yield();
}

static void *meet_as_producer(void *argument)
{
	struct meeting *meeting = argument;
	struct ball ball;

	stress_pin(1);
	for (uint32_t round = 1; round <= MEETINGS; round++) {
		meet(meeting, 1, 2 * round - 1);
		CHECK(ring_push_mpmc(meeting->inbox, &ball));
		wake_notify(&meeting->wake);
		meet(meeting, 1, 2 * round);
	}
	return NULL;
}

static void *meet_as_sleeper(void *argument)
{
	struct meeting *meeting = argument;
	struct pollfd sleep_on = {.fd = meeting->wake.eventfd, .events = POLLIN};
	uint64_t random = 0xda3e39cb94b95bdb;
	uint64_t lateness = 0;
	uint32_t would_sleep = 0;

	stress_pin(0);
	for (uint32_t round = 1; round <= MEETINGS; round++) {
		void *item;

		meet(meeting, 0, 2 * round - 1);
		spin(lateness + stress_random(&random) % JITTER);
		wake_prepare(&meeting->wake);
		item = ring_pop_mpmc(meeting->inbox);
		meet(meeting, 0, 2 * round);
		if (item && lateness > 0) {
			lateness--;
		} else if (!item) {
			would_sleep++;
			lateness++;
			CHECK(poll(&sleep_on, 1, 0) == 1);
			CHECK(ring_pop_mpmc(meeting->inbox));
		}
		wake_done(&meeting->wake);
	}
	(void)printf("%u meetings, %u would have slept, none for ever\n", MEETINGS, would_sleep);
	return NULL;
}

static void meetings(void)
{
	struct meeting meeting = {0};
	pthread_t sleeper;
	pthread_t producer;

	CHECK(ring_new(2, &meeting.inbox) == 0);
	CHECK(wake_init(&meeting.wake) == 0);
	sleeper = stress_start(meet_as_sleeper, &meeting);
	producer = stress_start(meet_as_producer, &meeting);
	stress_join(sleeper);
	stress_join(producer);
	wake_destroy(&meeting.wake);
	ring_free(meeting.inbox);
}

int main(void)
{
	meetings();
	match("two CPUs", 0, 1);
	match("one CPU", 0, 0);
	return 0;
}
