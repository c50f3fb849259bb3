/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswap-guest/pattern.h"

#include <assert.h>

/* Words 0 and 1 name the page and its generation; the others follow from both. */
#define HEADER_WORDS 2u
#define STEP	     0x9e3779b97f4a7c15ull

static_assert(PATTERN_WORDS * sizeof(uint64_t) == 4096, "a pattern fills one page");

uint64_t random_next(uint64_t *state)
{
	uint64_t value = *state += STEP;

	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
	return value ^ (value >> 31);
}

static uint64_t first_word(uint64_t page, uint64_t generation)
{
	uint64_t state = page * 0xd1342543de82ef95ull + generation;

	return random_next(&state) | 1;
}

void pattern_fill(uint64_t words[PATTERN_WORDS], uint64_t page, uint64_t generation)
{
	const uint64_t first = first_word(page, generation);

	words[0] = page;
	words[1] = generation;
	for (uint32_t i = HEADER_WORDS; i < PATTERN_WORDS; i++)
		words[i] = first + i * STEP;
}

static uint64_t expected_word(uint64_t page, uint64_t generation, uint32_t word)
{
	if (word == 0)
		return page;
	if (word == 1)
		return generation;
	return first_word(page, generation) + word * STEP;
}

/* Differences are summed up without a branch a word, so that the check runs at memory speed. */
static uint64_t differences(const uint64_t words[PATTERN_WORDS], uint64_t page, uint64_t generation)
{
	const uint64_t first = first_word(page, generation);
	uint64_t difference = (words[0] ^ page) | (words[1] ^ generation);

	for (uint32_t i = HEADER_WORDS; i < PATTERN_WORDS; i++)
		difference |= words[i] ^ (first + i * STEP);
	return difference;
}

bool pattern_check(const uint64_t words[PATTERN_WORDS], uint64_t page, uint64_t generation,
	struct mismatch *ret_mismatch)
{
	if (differences(words, page, generation) == 0)
		return true;
	*ret_mismatch = (struct mismatch){
		.word = PATTERN_WORDS, .found_page = words[0], .found_generation = words[1]};
	for (uint32_t i = 0; i < PATTERN_WORDS; i++) {
		const uint64_t expected = expected_word(page, generation, i);

		if (words[i] == expected)
			continue;
		ret_mismatch->word = i;
		ret_mismatch->expected = expected;
		ret_mismatch->found = words[i];
		break;
	}
	return false;
}

bool pattern_check_zero(const uint64_t words[PATTERN_WORDS], struct mismatch *ret_mismatch)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < PATTERN_WORDS; i++)
		sum |= words[i];
	if (sum == 0)
		return true;
	*ret_mismatch = (struct mismatch){
		.word = PATTERN_WORDS, .found_page = words[0], .found_generation = words[1]};
	for (uint32_t i = 0; i < PATTERN_WORDS; i++) {
		if (words[i] == 0)
			continue;
		ret_mismatch->word = i;
		ret_mismatch->found = words[i];
		break;
	}
	return false;
}
