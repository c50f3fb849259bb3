/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More producers and consumers than CPUs, producers sharing one CPU: every item arrives exactly
 * once, each consumer sees the items of one producer in their order, and the run ends. A convoy (a
 * producer that spins for a preempted one: hundreds of items a second) would take a quarter of an
 * hour and meet ctest's timeout; time decides nothing otherwise.
 */
#include <stdatomic.h>

#include "queue/ring.h"
#include "tests/stress/stress.h"

#define PRODUCERS_MAX 8u
#define CONSUMERS_MAX 8u
#define ITEMS_EACH    25000u
#define CAPACITY      64u

/* Plain fields: the ring alone orders the producer's writes before the consumer's. */
struct item {
	uint32_t producer;
	uint32_t number;
	uint32_t arrivals;
};

struct layout {
	const char *name;
	uint32_t producers;
	uint32_t consumers;
	int producer_cpu;
	int consumer_cpu;
};

static const struct layout layouts[] = {
	{"8 producers on one CPU, 2 consumers anywhere", 8, 2, 0, ANY_CPU},
	{"8 producers and 8 consumers anywhere", 8, 8, ANY_CPU, ANY_CPU},
	{"8 producers and 8 consumers on one CPU", 8, 8, 0, 0},
	{"2 producers on one CPU, 1 consumer on the other", 2, 1, 0, 1},
};

static struct item items[PRODUCERS_MAX][ITEMS_EACH];
static struct ring *ring;
static const struct layout *layout;
static _Atomic uint32_t producers_left;

static void *produce(void *argument)
{
	struct item *mine = argument;
	uint32_t producer = mine->producer;

	stress_pin(layout->producer_cpu);
	for (uint32_t i = 0; i < ITEMS_EACH; i++) {
		mine[i] = (struct item){.producer = producer, .number = i};
		while (!ring_push_mpmc(ring, &mine[i]))
			(void)sched_yield();
	}
	/* pairs with test_ring_stress.c:consume(): whoever sees 0 sees every push */
	(void)atomic_fetch_sub_explicit(&producers_left, 1, memory_order_release);
	return NULL;
}

static void *consume(void *argument)
{
	uint32_t next[PRODUCERS_MAX] = {0};
	uint64_t *ret_count = argument;
	uint64_t count = 0;

	stress_pin(layout->consumer_cpu);
	for (;;) {
		/* pairs with test_ring_stress.c:produce(); read first, so that "empty" is final */
		uint32_t left = atomic_load_explicit(&producers_left, memory_order_acquire);
		struct item *item = ring_pop_mpmc(ring);

		if (!item && left == 0)
			break;
		if (!item) {
			(void)sched_yield();
			continue;
		}
		CHECK(item->producer < layout->producers);
		CHECK(item->number >= next[item->producer]);
		next[item->producer] = item->number + 1;
		item->arrivals++;
		count++;
	}
	*ret_count = count;
	return NULL;
}

static void check_arrivals(uint64_t popped)
{
	CHECK(popped == (uint64_t)layout->producers * ITEMS_EACH);
	for (uint32_t producer = 0; producer < layout->producers; producer++)
		for (uint32_t i = 0; i < ITEMS_EACH; i++)
			CHECK(items[producer][i].arrivals == 1);
	CHECK(ring_count(ring) == 0);
}

static void run(void)
{
	pthread_t producers[PRODUCERS_MAX];
	pthread_t consumers[CONSUMERS_MAX];
	uint64_t counts[CONSUMERS_MAX];
	uint64_t popped = 0;

	CHECK(ring_new(CAPACITY, &ring) == 0);
	atomic_store(&producers_left, layout->producers);
	for (uint32_t i = 0; i < layout->consumers; i++)
		consumers[i] = stress_start(consume, &counts[i]);
	for (uint32_t i = 0; i < layout->producers; i++) {
		items[i][0].producer = i;
		producers[i] = stress_start(produce, items[i]);
	}
	for (uint32_t i = 0; i < layout->producers; i++)
		stress_join(producers[i]);
	for (uint32_t i = 0; i < layout->consumers; i++) {
		stress_join(consumers[i]);
		popped += counts[i];
	}
	check_arrivals(popped);
	ring_free(ring);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		layout = &layouts[i];
		run();
		(void)printf("%s: every item once\n", layout->name);
		(void)fflush(stdout);
	}
	return 0;
}
