/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page of guest memory holds: 512 words, each a function of the page's number, its
 * generation and the word's place. So a page that is stale, swapped with another, half filled or
 * damaged differs in a word that says which. Used on the host (vmswap-guest) and inside QEMU guests
 * (guest_init).
 */
#ifndef VMSWAP_TOOLS_PATTERN_H
#define VMSWAP_TOOLS_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_WORDS 512u

/* Why a page is not what it should be. */
struct mismatch {
	uint32_t word; /* the first wrong one */
	uint64_t expected, found;
	uint64_t found_page, found_generation; /* what the page says of itself */
};

void pattern_fill(uint64_t words[PATTERN_WORDS], uint64_t page, uint64_t generation);
/* True when all words are right; else fills @ret_mismatch. */
bool pattern_check(const uint64_t words[PATTERN_WORDS], uint64_t page, uint64_t generation,
	struct mismatch *ret_mismatch);
/* True when all words are zero; else fills @ret_mismatch. */
bool pattern_check_zero(const uint64_t words[PATTERN_WORDS], struct mismatch *ret_mismatch);

/* The next number of a splitmix64 generator: seeded, so that a run can be repeated. */
uint64_t random_next(uint64_t *state);

#endif
