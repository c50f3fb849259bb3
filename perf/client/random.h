/* SPDX-License-Identifier: Apache-2.0 */
/* Pseudo-random numbers that every run draws alike: splitmix64 (Steele, Lea, Flood, 2014). */
#ifndef VMSWAP_PERF_CLIENT_RANDOM_H
#define VMSWAP_PERF_CLIENT_RANDOM_H

#include <stdint.h>

/* One step of the generator's mixing: a hash of @value. */
static inline uint64_t random_mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return value ^ (value >> 31);
}

static inline uint64_t random_seed(uint64_t seed)
{
	return random_mix(seed + 1);
}

static inline uint64_t random_next(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u;
	return random_mix(*state);
}

/* In [0, 1). */
static inline double random_share(uint64_t *state)
{
	return (double)(random_next(state) >> 11) / (double)((uint64_t)1 << 53);
}

#endif
