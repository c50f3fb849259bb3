/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two pictures of one pass through enable, trim, swap-out and swap-in: the stalls of a guest that
 * touches its working set all the while, and what states its pages are in.
 */
#ifndef VMSWAP_PERF_COMMAND_TIMELINE_H
#define VMSWAP_PERF_COMMAND_TIMELINE_H

struct bench;

void timeline_run(struct bench *bench);

#endif
