/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/content.h"

#include <sys/random.h>

#include <immintrin.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* One look at the outcome a block; a guest's data page nearly always ends in the first. */
#define BLOCK_BYTES 256

int digest_secret_make(struct digest_secret *ret_secret)
{
	/* @unfiltered getrandom */
	const ssize_t got = errno_of(getrandom(ret_secret->byte, sizeof(ret_secret->byte), 0));

	if (got < 0)
		return (int)got;
	return got == sizeof(ret_secret->byte) ? 0 : -EIO;
}

uint64_t content_digest(const struct digest_secret *secret, const void *page)
{
	return XXH3_64bits_withSecret(page, PAGE_BYTES, secret->byte, sizeof(secret->byte));
}

__attribute__((target("avx2"))) static bool is_zero_avx2(const void *page)
{
	const __m256i *vector = page;

	for (uint32_t i = 0; i < PAGE_BYTES / sizeof(*vector); i += BLOCK_BYTES / sizeof(*vector)) {
		__m256i sum = _mm256_setzero_si256();

		for (uint32_t j = 0; j < BLOCK_BYTES / sizeof(*vector); j++)
			sum = _mm256_or_si256(sum, _mm256_load_si256(&vector[i + j]));
		if (!_mm256_testz_si256(sum, sum))
			return false;
	}
	return true;
}

static bool is_zero_words(const void *page)
{
	const uint64_t *word = page;

	for (uint32_t i = 0; i < PAGE_BYTES / sizeof(*word); i += BLOCK_BYTES / sizeof(*word)) {
		uint64_t sum = 0;

		for (uint32_t j = 0; j < BLOCK_BYTES / sizeof(*word); j++)
			sum |= word[i + j];
		if (sum != 0)
			return false;
	}
	return true;
}

bool content_is_zero(const void *page)
{
	ASSERT((uintptr_t)page % PAGE_BYTES == 0);
	if (__builtin_cpu_supports("avx2"))
		return is_zero_avx2(page);
	return is_zero_words(page);
}
