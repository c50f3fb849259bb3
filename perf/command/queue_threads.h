/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that pass items through a ring, for a while; how many went through. */
#ifndef VMSWAP_PERF_COMMAND_QUEUE_THREADS_H
#define VMSWAP_PERF_COMMAND_QUEUE_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#define QUEUE_ANY_CPU (-1)

enum queue_variant {
	QUEUE_CK,      /* ck_ring, many producers */
	QUEUE_RING,    /* queue/ring.h */
	QUEUE_HAND_ON, /* one shared ring; what a consumer does not own it hands to the owner */
	QUEUE_LANES,   /* items addressed to their owner's ring */
	QUEUE_VARIANTS,
};

struct queue_scenario {
	const char *name;
	int producers;
	int consumers;
	int producer_cpu;
	int consumer_cpu;
};

/* The rings. -ENOMEM. */
int queue_threads_init(void);
void queue_threads_done(void);
/* Items a second. One caller at a time. */
double queue_threads_measure(const struct queue_scenario *of, enum queue_variant variant);

#endif
