/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P15: faults/s, swap-out and status latency with more and with larger VMs, each against one VM of
 * 1 GiB in the same round.
 */
#ifndef VMSWAP_PERF_COMMAND_GROWTH_H
#define VMSWAP_PERF_COMMAND_GROWTH_H

struct bench;

void growth_run(struct bench *bench);

#endif
