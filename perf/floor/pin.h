/* SPDX-License-Identifier: Apache-2.0 */
/* A floor runs on the calling thread: pins it for so long, and puts it back. */
#ifndef VMSWAP_PERF_FLOOR_PIN_H
#define VMSWAP_PERF_FLOOR_PIN_H

#include <sched.h>

#include "queue/base/err.h"

#define FLOOR_ANY_CPU (-1)

/* -errno: there is no such CPU. */
static inline int floor_pin(int cpu, cpu_set_t *ret_before)
{
	cpu_set_t before;
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(before), &before) < 0)
		return -errno;
	*ret_before = before;
	if (cpu == FLOOR_ANY_CPU)
		return 0;
	CPU_ZERO(&cpus);
	CPU_SET((unsigned)cpu, &cpus);
	return errno_of(sched_setaffinity(0, sizeof(cpus), &cpus));
}

static inline void floor_unpin(const cpu_set_t *before)
{
	(void)sched_setaffinity(0, sizeof(*before), before);
}

#endif
