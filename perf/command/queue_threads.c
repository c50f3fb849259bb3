/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/command/queue_threads.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include <ck_ring.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/ring.h"

/* A convoy begins with an unlucky preemption and then stays; the warm-up lets it begin. */
#define WARM_UP_MS  700
#define ROUND_MS    300
#define CAPACITY    1024u
#define THREADS_MAX 8

struct queue_way {
	bool (*push)(uintptr_t item);
	void *(*pop)(int consumer);
};

static struct ring *shared;
static struct ring *lanes[THREADS_MAX];
static ck_ring_t ck_ring;
static ck_ring_buffer_t ck_cells[CAPACITY];

static const struct queue_scenario *scenario;
static const struct queue_way *way;
static atomic_bool stopping;
static _Atomic int producers_left;
static struct {
	_Alignas(CACHE_LINE) _Atomic uint64_t items;
} consumed[THREADS_MAX];

static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu == QUEUE_ANY_CPU)
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
		while (!way->push(item))
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

		if (way->pop(consumer))
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

static double run_threads(void)
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

int queue_threads_init(void)
{
	ck_ring_init(&ck_ring, CAPACITY);
	if (ring_new(CAPACITY, &shared) < 0)
		return -ENOMEM;
	for (int i = 0; i < THREADS_MAX; i++)
		if (ring_new(CAPACITY, &lanes[i]) < 0)
			return -ENOMEM;
	return 0;
}

void queue_threads_done(void)
{
	ring_free(shared);
	for (int i = 0; i < THREADS_MAX; i++)
		ring_free(lanes[i]);
}

double queue_threads_measure(const struct queue_scenario *of, enum queue_variant variant)
{
	static const struct queue_way ways[QUEUE_VARIANTS] = {
		[QUEUE_CK] = {push_ck, pop_ck},
		[QUEUE_RING] = {push_shared, pop_shared},
		[QUEUE_HAND_ON] = {push_shared, pop_or_hand_on},
		[QUEUE_LANES] = {push_addressed, pop_addressed},
	};

	ASSERT(variant < QUEUE_VARIANTS);
	ASSERT(of->producers + of->consumers <= 2 * THREADS_MAX);
	scenario = of;
	way = &ways[variant];
	return run_threads();
}
