/* SPDX-License-Identifier: Apache-2.0 */
/* The machine a run was made on, and who else used it meanwhile. */
#ifndef VMSWAP_PERF_BENCH_HOST_H
#define VMSWAP_PERF_BENCH_HOST_H

#include <jansson.h>
#include <stdint.h>

/* CPUs, memory, kernel and the disk under @directory. New reference. */
json_t *host_describe(const char *directory);

/* A span of time that is watched for foreign use of the CPUs. */
struct host_load {
	uint64_t begin_ns;
	uint64_t busy; /* ticks of all CPUs, steal included */
	uint64_t ours; /* ticks of this process, its descendants and kernel threads */
};

void host_load_begin(struct host_load *load);
/*
 * CPUs used since by others than this process, its descendants and kernel threads (those work for
 * us: block I/O, RCU): 0.5 is half of one. Counted in ticks, so spans below 100 ms say little.
 */
double host_load_foreign(const struct host_load *load);

#endif
