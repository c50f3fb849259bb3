/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPUs a placement means on this machine. */
#ifndef VMSWAP_PERF_BENCH_PLACE_H
#define VMSWAP_PERF_BENCH_PLACE_H

#include <stdbool.h>

#include "perf/bench/bench.h"
#include "perf/bench/options.h"

struct contestant_setup;

/*
 * Whether a row with default placement @usual is to be measured at @placement in this run. @usual:
 * that of its target.
 */
bool place_wants(const struct bench *bench, enum placement usual, enum placement placement);
/* CPU of the client's threads, or CLIENT_ANY_CPU. */
int place_client(enum placement placement);
/*
 * Pins what serves: same: to the last CPU (on the machines we know, the one that takes the disk's
 * interrupts); cross: away from the client's. Shards beyond the CPUs share them.
 */
void place_handler(enum placement placement, struct contestant_setup *setup);

#endif
