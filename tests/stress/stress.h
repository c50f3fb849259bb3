/* SPDX-License-Identifier: Apache-2.0 */
/* What the stress programs share. They are plain programs because Criterion and TSan exclude one
 * another; a check that fails ends the program with 1. */
#ifndef VMSWAP_TESTS_STRESS_STRESS_H
#define VMSWAP_TESTS_STRESS_STRESS_H

#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/check.h"

#define ANY_CPU (-1)

/* The calling thread stays on the (@nth modulo count)-th of the CPUs the process may use. */
static inline void stress_pin(int nth)
{
	cpu_set_t allowed;
	cpu_set_t one;
	int left;

	if (nth == ANY_CPU)
		return;
	CHECK(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
	left = nth % CPU_COUNT(&allowed);
	CPU_ZERO(&one);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && left-- == 0)
			CPU_SET(cpu, &one);
	CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
}

/* xorshift64: a seed gives the same run of choices, though not the same interleaving. */
static inline uint64_t stress_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline pthread_t stress_start(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, function, argument) == 0);
	return thread;
}

static inline void stress_join(pthread_t thread)
{
	CHECK(pthread_join(thread, NULL) == 0);
}

#endif
