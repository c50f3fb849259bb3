/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <signal.h>

#include "io/token.h"
#include "queue/base/bits.h"

Test(token, every_field_comes_back)
{
	const uint8_t kinds[] = {0, 1, 0x7f, 0x80, 0xff};
	const uint32_t tags[] = {0, 1, 0x800000, TOKEN_TAG_MAX};
	const uint32_t indexes[] = {0, 1, 0x80000000u, UINT32_MAX};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t t = 0; t < ARRAY_SIZE(tags); t++)
			for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
				const uint64_t token = token_make(kinds[k], tags[t], indexes[i]);

				cr_assert_eq(token_kind(token), kinds[k]);
				cr_assert_eq(token_tag(token), tags[t]);
				cr_assert_eq(token_index(token), indexes[i]);
			}
}

Test(token, fields_do_not_overlap)
{
	const uint64_t kind = token_make(0xff, 0, 0);
	const uint64_t tag = token_make(0, TOKEN_TAG_MAX, 0);
	const uint64_t index = token_make(0, 0, UINT32_MAX);

	const uint64_t shared = (kind & tag) | (kind & index) | (tag & index);

	cr_assert_eq(shared, 0);
	cr_assert_eq(kind | tag | index, UINT64_MAX);
}

Test(token, a_tag_too_wide_is_an_assertion, .signal = SIGABRT)
{
	(void)token_make(0, TOKEN_TAG_MAX + 1, 0);
}
