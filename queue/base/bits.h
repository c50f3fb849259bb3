/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and small integer helpers that every layer shares. */
#ifndef VMSWAP_QUEUE_BASE_BITS_H
#define VMSWAP_QUEUE_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)         ((a) < (b) ? (a) : (b))
#define MAX(a, b)         ((a) > (b) ? (a) : (b))

#define CACHE_LINE 64

/* A page is what userfaultfd resolves: the base page of x86-64. */
#define PAGE_SHIFT 12
#define PAGE_BYTES ((size_t)1 << PAGE_SHIFT)

/* A chunk is the unit of jobs and of punches: one PMD, the size of a huge folio. */
#define CHUNK_PAGES 512u
#define CHUNK_BYTES (CHUNK_PAGES * PAGE_BYTES)

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static inline uint64_t divide_up(uint64_t value, uint64_t divisor)
{
	return value / divisor + (value % divisor != 0);
}

static inline bool is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/* Bitmaps are arrays of uint64_t, bit 0 = lowest bit of word 0. */
#define BITMAP_WORDS(bits) (((bits) + 63) / 64)

static inline bool bit_get(const uint64_t *bitmap, size_t index)
{
	return (bitmap[index / 64] >> (index % 64)) & 1;
}

static inline void bit_set(uint64_t *bitmap, size_t index)
{
	bitmap[index / 64] |= (uint64_t)1 << (index % 64);
}

static inline void bit_clear(uint64_t *bitmap, size_t index)
{
	bitmap[index / 64] &= ~((uint64_t)1 << (index % 64));
}

#endif
