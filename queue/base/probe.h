/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named steps. PROBE(swap_out, writing) is a no-op and a note in the program that says where it
 * lies: perf and bpftrace find it as usdt probe swap_out:writing, and tests/torture lets the
 * process die there. It stands between two things of which a death may see the first done and the
 * second not; the compiler moves neither past it. vmswapd(8) has the list (test style_probes).
 */
#ifndef VMSWAP_QUEUE_BASE_PROBE_H
#define VMSWAP_QUEUE_BASE_PROBE_H

#include <stdatomic.h>
#include <sys/sdt.h>

#define PROBE(group, step)                                                                         \
	do {                                                                                       \
		atomic_signal_fence(memory_order_seq_cst);                                         \
		STAP_PROBE(group, step);                                                           \
		atomic_signal_fence(memory_order_seq_cst);                                         \
	} while (0)

#endif
