/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel-swap contestant knows beyond the calls of all contestants. */
#ifndef VMSWAP_PERF_CONTESTANT_SWAP_H
#define VMSWAP_PERF_CONTESTANT_SWAP_H

#include <stdint.h>

#include "perf/contestant/contestant.h"

/*
 * After an evict: of the client's pages, the share that is in RAM all the same (mapped, or in the
 * swap cache). Touches of these are no swap-ins, and flatter the kernel.
 */
double contestant_swap_resident_share(const struct contestant *self);
/* vm.page-cluster of the host, unchanged: a swap-in reads up to 2^this pages. */
uint32_t contestant_swap_page_cluster(const struct contestant *self);

#endif
