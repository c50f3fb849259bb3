/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The zap: page-table entries of guest memory go, the pages stay in the page cache, so that the
 * next touch is a fault that we see. Three ways, by process: injected madvise, the client library's
 * helper thread, and process_madvise(PAGEOUT) from outside. Worker threads.
 */
#ifndef VMSWAP_CTL_ZAPPER_H
#define VMSWAP_CTL_ZAPPER_H

#include <stdint.h>

struct attachment;
struct member;
struct problem;

/*
 * Chunks that one stop of the target zaps: 16 MiB. Measured (staging-proof.md 2): 64 MiB a stop is
 * the cheapest in total but stops a thread for up to 13 ms; 2 MiB stops it for 0.3 to 0.5 ms and
 * costs twice as much in total. A stop itself costs 0.1 ms, so 16 MiB loses little and stays near 2
 * ms.
 */
#define ZAPPER_PIECE_CHUNKS 8u

/*
 * Zaps a piece (chunks of one stripe and region) in every process. 0: nothing of it is mapped any
 * more. 1: it may be in part (paged out from outside), ask the page tables. -errno and the problem:
 * nothing is known. A process that dies meanwhile is no error.
 */
int zapper_zap(
	struct attachment *attachment, uint32_t first, uint32_t count, struct problem *problem);

/* Zaps everything that may be mapped in one process that has come later. */
int zapper_zap_all(
	struct attachment *attachment, const struct member *member, struct problem *problem);

#endif
