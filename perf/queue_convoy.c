/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two questions that the queue layer was cut by; the answers are in queue/README.md.
 *
 *   convoy   ck_ring's multi-producer path against queue/ring.h, producers sharing one CPU
 *   lanes    commands addressed to their owner's lane against one shared ring, whose consumers hand
 *            what they do not own to the owner's lane
 *
 * Every variant runs for the same time, in interleaved rounds; items a second after a warm-up,
 * median [min–max]. Threads that find a ring full or empty yield.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <ck_ring.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/ring.h"

#define ROUNDS 5
/* A convoy begins with an unlucky preemption and then stays; the warm-up lets it begin. */
#define WARM_UP_MS  700
#define ROUND_MS    300
#define CAPACITY    1024u
#define THREADS_MAX 8
#define ANY_CPU	    (-1)

struct scenario {
	const char *name;
	const char *variant_names[2];
	int producers;
	int consumers;
	int producer_cpu;
	int consumer_cpu;
	bool (*push[2])(uintptr_t item);
	void *(*pop[2])(int consumer);
};

static struct ring *shared;
static struct ring *lanes[THREADS_MAX];
static ck_ring_t ck_ring;
static ck_ring_buffer_t ck_cells[CAPACITY];

static const struct scenario *scenario;
static int variant;
static atomic_bool stopping;
static _Atomic int producers_left;
static struct {
	_Alignas(CACHE_LINE) _Atomic uint64_t items;
} consumed[THREADS_MAX];

static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu == ANY_CPU)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		perror("sched_setaffinity");
}

static bool push_ck(uintptr_t item)
{
	return ck_ring_enqueue_mpmc(&ck_ring, ck_cells, (void *)item);
}

static void *pop_ck(int consumer)
{
	void *item;

	(void)consumer;
	return ck_ring_dequeue_mpmc(&ck_ring, ck_cells, &item) ? item : NULL;
}

static bool push_shared(uintptr_t item)
{
	return ring_push_mpmc(shared, (void *)item);
}

static void *pop_shared(int consumer)
{
	(void)consumer;
	return ring_pop_mpmc(shared);
}

/* Only @consumer's own thread adds; measure() reads. */
static void count_one(int consumer)
{
	uint64_t count = atomic_load_explicit(&consumed[consumer].items, memory_order_relaxed);

	atomic_store_explicit(&consumed[consumer].items, count + 1, memory_order_relaxed);
}

static uint64_t count_all(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < THREADS_MAX; i++)
		sum += atomic_load_explicit(&consumed[i].items, memory_order_relaxed);
	return sum;
}

static int owner_of(uintptr_t item)
{
	return (int)(item % (uintptr_t)scenario->consumers);
}

static bool push_addressed(uintptr_t item)
{
	return ring_push_mpmc(lanes[owner_of(item)], (void *)item);
}

static void *pop_addressed(int consumer)
{
	return ring_pop_mpmc(lanes[consumer]);
}

/* Own lane first. Foreign items go to their owner's lane; while that is full their holder waits. */
static void *pop_or_hand_on(int consumer)
{
	for (;;) {
		void *own = ring_pop_mpmc(lanes[consumer]);
		void *item = own ? own : ring_pop_mpmc(shared);

		if (!item || owner_of((uintptr_t)item) == consumer)
			return item;
		while (!push_addressed((uintptr_t)item))
			if (ring_pop_mpmc(lanes[consumer]))
				count_one(consumer);
			else
				(void)sched_yield();
	}
}

static void *produce(void *argument)
{
	uintptr_t item = (uintptr_t)argument;

	pin(scenario->producer_cpu);
	while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
		item++;
		while (!scenario->push[variant](item))
			(void)sched_yield();
	}
	(void)atomic_fetch_sub(&producers_left, 1);
	return NULL;
}

/* After the stop it goes on until the producers are out of their last push and its queue is empty.
 */
static void *consume(void *argument)
{
	int consumer = (int)(intptr_t)argument;

	pin(scenario->consumer_cpu);
	for (;;) {
		bool is_last_look = atomic_load(&producers_left) == 0;

		if (scenario->pop[variant](consumer))
			count_one(consumer);
		else if (is_last_look)
			break;
		else
			(void)sched_yield();
	}
	return NULL;
}

static void empty_all(void)
{
	/* What one consumer handed to another that had left already. */
	while (ring_pop_mpmc(shared))
		;
	for (int i = 0; i < THREADS_MAX; i++)
		while (ring_pop_mpmc(lanes[i]))
			;
}

static void start(pthread_t *thread, void *(*function)(void *), intptr_t argument)
{
	int result = pthread_create(thread, NULL, function, (void *)argument);

	ASSERT(result == 0);
}

static void wait_ms(long duration_ms)
{
	struct timespec duration = {.tv_nsec = duration_ms * (long)NS_PER_MS};

	(void)nanosleep(&duration, NULL);
}

static double measure(void)
{
	pthread_t threads[2 * THREADS_MAX];
	int count = 0;

	atomic_store(&stopping, false);
	atomic_store(&producers_left, scenario->producers);
	for (int i = 0; i < scenario->consumers; i++)
		start(&threads[count++], consume, i);
	for (int i = 0; i < scenario->producers; i++)
		start(&threads[count++], produce, ((intptr_t)i + 1) << 40);
	wait_ms(WARM_UP_MS);
	uint64_t start_ns = clock_ns();
	uint64_t first = count_all();
	wait_ms(ROUND_MS);
	uint64_t items = count_all() - first;
	uint64_t elapsed_ns = clock_ns() - start_ns;
	atomic_store(&stopping, true);
	while (count > 0)
		(void)pthread_join(threads[--count], NULL);
	empty_all();
	return (double)items * (double)NS_PER_S / (double)elapsed_ns;
}

static int compare(const void *a, const void *b)
{
	const double *first = a;
	const double *second = b;

	return (*first > *second) - (*first < *second);
}

static void run(void)
{
	double rates[2][ROUNDS];

	for (int round = 0; round < ROUNDS; round++)
		for (variant = 0; variant < 2; variant++)
			rates[variant][round] = measure();
	(void)printf("%s\n", scenario->name);
	for (variant = 0; variant < 2; variant++) {
		qsort(rates[variant], ROUNDS, sizeof(double), compare);
		(void)printf("  %-22s %12.0f items/s [%.0f–%.0f]\n",
			scenario->variant_names[variant], rates[variant][ROUNDS / 2],
			rates[variant][0], rates[variant][ROUNDS - 1]);
	}
	(void)printf(
		"  ratio second/first     %12.2f\n", rates[1][ROUNDS / 2] / rates[0][ROUNDS / 2]);
	(void)fflush(stdout);
}

#define CONVOY                                                                                     \
	.variant_names = {"ck_ring mpmc", "queue/ring"}, .push = {push_ck, push_shared},           \
	.pop = {pop_ck, pop_shared}
#define LANES                                                                                      \
	.variant_names = {"shared, hand on", "addressed lanes"},                                   \
	.push = {push_shared, push_addressed}, .pop = {pop_or_hand_on, pop_addressed}

static const struct scenario scenarios[] = {
	{"2 producers on CPU 0, 1 consumer on CPU 1", CONVOY, .producers = 2, .consumers = 1,
		.producer_cpu = 0, .consumer_cpu = 1},
	{"8 producers on CPU 0, 1 consumer on CPU 1", CONVOY, .producers = 8, .consumers = 1,
		.producer_cpu = 0, .consumer_cpu = 1},
	{"2 producers and 1 consumer, any CPU", CONVOY, .producers = 2, .consumers = 1,
		.producer_cpu = ANY_CPU, .consumer_cpu = ANY_CPU},
	{"1 producer on CPU 0, 1 consumer on CPU 1", CONVOY, .producers = 1, .consumers = 1,
		.producer_cpu = 0, .consumer_cpu = 1},
	{"1 producer, 2 owners, any CPU", LANES, .producers = 1, .consumers = 2,
		.producer_cpu = ANY_CPU, .consumer_cpu = ANY_CPU},
	{"1 producer, 4 owners, any CPU", LANES, .producers = 1, .consumers = 4,
		.producer_cpu = ANY_CPU, .consumer_cpu = ANY_CPU},
	{"2 producers, 4 owners, any CPU", LANES, .producers = 2, .consumers = 4,
		.producer_cpu = ANY_CPU, .consumer_cpu = ANY_CPU},
};

int main(void)
{
	ck_ring_init(&ck_ring, CAPACITY);
	if (ring_new(CAPACITY, &shared) < 0)
		return 1;
	for (int i = 0; i < THREADS_MAX; i++)
		if (ring_new(CAPACITY, &lanes[i]) < 0)
			return 1;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		scenario = &scenarios[i];
		run();
	}
	return 0;
}
