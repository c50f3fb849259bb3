/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/content.h"
#include "queue/base/bits.h"

static _Alignas(4096) uint8_t page[PAGE_BYTES];

Test(content, a_page_of_zeros_is_zero)
{
	cr_assert(content_is_zero(page));
}

Test(content, one_bit_anywhere_makes_a_page_not_zero)
{
	for (size_t i = 0; i < PAGE_BYTES; i++) {
		page[i] = (uint8_t)(1u << i % 8);
		cr_assert_not(content_is_zero(page), "byte %zu", i);
		page[i] = 0;
	}
	cr_assert(content_is_zero(page));
}

Test(content, one_bit_anywhere_changes_the_digest)
{
	struct digest_secret secret;
	uint64_t digest;

	cr_assert_eq(digest_secret_make(&secret), 0);
	memset(page, 0x5a, sizeof(page));
	digest = content_digest(&secret, page);

	for (size_t i = 0; i < PAGE_BYTES; i++) {
		page[i] ^= (uint8_t)(1u << i % 8);
		cr_assert_neq(content_digest(&secret, page), digest, "byte %zu", i);
		page[i] ^= (uint8_t)(1u << i % 8);
	}
	cr_assert_eq(content_digest(&secret, page), digest);
}

Test(content, another_secret_gives_another_digest)
{
	struct digest_secret first;
	struct digest_secret second;

	cr_assert_eq(digest_secret_make(&first), 0);
	cr_assert_eq(digest_secret_make(&second), 0);

	cr_assert_arr_neq(first.byte, second.byte, DIGEST_SECRET_BYTES);
	cr_assert_neq(content_digest(&first, page), content_digest(&second, page));
}
