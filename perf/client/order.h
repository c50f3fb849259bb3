/* SPDX-License-Identifier: Apache-2.0 */
/* The orders in which a client touches its pages, made from a seed: same seed, same order. */
#ifndef VMSWAP_PERF_CLIENT_ORDER_H
#define VMSWAP_PERF_CLIENT_ORDER_H

#include <stdint.h>

enum order_kind {
	ORDER_UNIFORM,	  /* random, no page twice (a permutation, cut to the count) */
	ORDER_SEQUENTIAL, /* page 0, 1, 2 … */
	ORDER_STRIDED,	  /* every ORDER_STRIDE-th page, then again one page further */
	ORDER_ZIPF,	  /* draws with Zipf's law, exponent 0.99, over shuffled pages: repeats */
	ORDER_KINDS,
};

/* 17 pages: beyond a fault-around of 16, prime to the chunk. */
#define ORDER_STRIDE 17u

const char *order_name(enum order_kind kind);
/* Fills @ret_order with @count page numbers below @pages; @count <= @pages but for ORDER_ZIPF. */
/* 0 or -ENOMEM. */
int order_make(
	enum order_kind kind, uint64_t pages, uint64_t count, uint64_t seed, uint32_t *ret_order);

#endif
