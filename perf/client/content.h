/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client's pages hold, so that each touch can tell whether it got the right page:
 *
 *   word 0     a counter; a touch that writes adds one
 *   word 1     the page's stamp
 *   …          incompressible, or half of it constant
 *   word 511   the stamp, inverted
 *
 * A zero page holds zeros but for the counter.
 */
#ifndef VMSWAP_PERF_CLIENT_CONTENT_H
#define VMSWAP_PERF_CLIENT_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "perf/client/client.h"
#include "perf/client/random.h"
#include "queue/base/bits.h"

#define CONTENT_WORDS (PAGE_BYTES / sizeof(uint64_t))

static inline bool content_page_is_zero(const struct client_config *config, uint64_t page)
{
	return random_mix(page ^ 0x7a65726f) % 100 < config->zero_percent;
}

static inline uint64_t content_stamp(uint64_t page)
{
	return random_mix(page + 1) | 1;
}

static inline void content_fill(const struct client_config *config, uint64_t page, uint64_t *word)
{
	const uint64_t random_words =
		config->content == CLIENT_TEXT ? CONTENT_WORDS / 2 : CONTENT_WORDS;
	uint64_t random = random_seed(page);

	for (uint64_t i = 0; i < CONTENT_WORDS; i++)
		word[i] = i < random_words ? random_next(&random) : 0x2020202020202020;
	word[0] = 0;
	word[1] = content_stamp(page);
	word[CONTENT_WORDS - 1] = ~content_stamp(page);
}

static inline bool content_is_right(
	const struct client_config *config, uint64_t page, const volatile uint64_t *word)
{
	if (content_page_is_zero(config, page))
		return word[1] == 0 && word[CONTENT_WORDS - 1] == 0;
	return word[1] == content_stamp(page) && word[CONTENT_WORDS - 1] == ~content_stamp(page);
}

#endif
