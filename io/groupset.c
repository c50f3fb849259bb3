/* SPDX-License-Identifier: Apache-2.0 */
#include "io/groupset.h"

#include <errno.h>
#include <stdlib.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"

#define WORD_BITS 64u

int groupset_init(struct groupset *set, uint32_t count)
{
	/* One word more than needed, so that an empty range is no special case. */
	const size_t words = BITMAP_WORDS((size_t)count) + 1;

	*set = (struct groupset){
		.members = calloc(words, sizeof(uint64_t)),
		.nonzero = calloc(BITMAP_WORDS(words), sizeof(uint64_t)),
		.count = count,
	};
	if (set->members && set->nonzero)
		return 0;
	groupset_done(set);
	return -ENOMEM;
}

void groupset_done(struct groupset *set)
{
	ASSERT(set);
	free(set->members);
	free(set->nonzero);
	*set = (struct groupset){0};
}

void groupset_add(struct groupset *set, uint32_t member)
{
	ASSERT(member < set->count);
	bit_set(set->members, member);
	bit_set(set->nonzero, member / WORD_BITS);
}

void groupset_remove(struct groupset *set, uint32_t member)
{
	ASSERT(member < set->count);
	bit_clear(set->members, member);
	if (set->members[member / WORD_BITS] == 0)
		bit_clear(set->nonzero, member / WORD_BITS);
}

bool groupset_has(const struct groupset *set, uint32_t member)
{
	ASSERT(member < set->count);
	return bit_get(set->members, member);
}

/* The lowest bit at or above @from of a bitmap of @bits bits, or @bits. */
static uint32_t next_bit(const uint64_t *bitmap, uint32_t from, uint32_t bits)
{
	uint32_t index = from / WORD_BITS;
	uint64_t word;

	if (from >= bits)
		return bits;
	word = bitmap[index] & (UINT64_MAX << from % WORD_BITS);
	while (word == 0) {
		if (++index >= BITMAP_WORDS(bits))
			return bits;
		word = bitmap[index];
	}
	return index * WORD_BITS + (uint32_t)__builtin_ctzll(word);
}

static uint32_t next_above(const struct groupset *set, uint32_t from)
{
	const uint32_t words = (uint32_t)BITMAP_WORDS((size_t)set->count);
	const uint32_t word = from / WORD_BITS;
	uint64_t bits;
	uint32_t found;

	if (from >= set->count)
		return GROUPSET_NONE;
	bits = set->members[word] & (UINT64_MAX << from % WORD_BITS);
	if (bits != 0)
		return word * WORD_BITS + (uint32_t)__builtin_ctzll(bits);
	found = next_bit(set->nonzero, word + 1, words);
	if (found >= words)
		return GROUPSET_NONE;
	ASSERT(set->members[found] != 0);
	return found * WORD_BITS + (uint32_t)__builtin_ctzll(set->members[found]);
}

uint32_t groupset_next(const struct groupset *set, uint32_t from)
{
	const uint32_t found = next_above(set, from);

	ASSERT(found == GROUPSET_NONE || found >= from);
	return found == GROUPSET_NONE ? next_above(set, 0) : found;
}
