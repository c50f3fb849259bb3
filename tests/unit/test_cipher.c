/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/cipher.h"
#include "io/shared.h"
#include "queue/base/bits.h"

static const struct cipher_place here = {.page = 5, .slot = 7, .digest = 0x0123456789abcdef};
static uint8_t plain[PAGE_BYTES];
static uint8_t sealed[PAGE_BYTES];
static struct shared key;
static struct cipher *cipher;

static void set_up(void)
{
	for (size_t i = 0; i < PAGE_BYTES; i++)
		plain[i] = (uint8_t)i;
	cr_assert_eq(cipher_key_make(&key), 0);
	cr_assert_eq(cipher_new(key.memory, &cipher), 0);
}

static void tear_down(void)
{
	cipher_free(cipher);
	cipher_key_forget(&key);
}

TestSuite(cipher, .init = set_up, .fini = tear_down);

/* Whether @place gives the content back that was encrypted for @here. */
static bool opens(const struct cipher_place *place)
{
	uint8_t page[PAGE_BYTES];

	cipher_encrypt_page(cipher, &here, plain, page);
	cipher_decrypt_page(cipher, place, page);
	return memcmp(page, plain, PAGE_BYTES) == 0;
}

Test(cipher, what_was_encrypted_is_decrypted_to_itself)
{
	cipher_encrypt_page(cipher, &here, plain, sealed);
	cr_assert_arr_neq(sealed, plain, PAGE_BYTES);

	cipher_decrypt_page(cipher, &here, sealed);

	cr_assert_arr_eq(sealed, plain, PAGE_BYTES);
}

Test(cipher, another_page_slot_or_digest_is_another_text)
{
	struct cipher_place place = here;

	cr_assert(opens(&place));
	place.page++;
	cr_assert_not(opens(&place));
	place = here;
	place.slot++;
	cr_assert_not(opens(&place));
	place = here;
	place.digest ^= (uint64_t)1 << 63;
	cr_assert_not(opens(&place));
}

Test(cipher, every_key_is_another)
{
	struct shared other_key;
	struct cipher *other;

	cr_assert_eq(cipher_key_make(&other_key), 0);
	cr_assert_eq(cipher_new(other_key.memory, &other), 0);
	cipher_encrypt_page(cipher, &here, plain, sealed);
	cipher_decrypt_page(other, &here, sealed);

	cr_assert_arr_neq(sealed, plain, PAGE_BYTES);
	cipher_free(other);
	cipher_key_forget(&other_key);
}

/* IEEE 1619-2018, vector 10: data unit 0xff, whose blocks are those of a page's beginning. */
Test(cipher, it_is_the_standard_XTS)
{
	static const uint8_t standard_key[CIPHER_KEY_BYTES] = {0x27, 0x18, 0x28, 0x18, 0x28, 0x45,
		0x90, 0x45, 0x23, 0x53, 0x60, 0x28, 0x74, 0x71, 0x35, 0x26, 0x62, 0x49, 0x77, 0x57,
		0x24, 0x70, 0x93, 0x69, 0x99, 0x59, 0x57, 0x49, 0x66, 0x96, 0x76, 0x27, 0x31, 0x41,
		0x59, 0x26, 0x53, 0x58, 0x97, 0x93, 0x23, 0x84, 0x62, 0x64, 0x33, 0x83, 0x27, 0x95,
		0x02, 0x88, 0x41, 0x97, 0x16, 0x93, 0x99, 0x37, 0x51, 0x05, 0x82, 0x09, 0x74, 0x94,
		0x45, 0x92};
	static const uint8_t text[] = {0x1c, 0x3b, 0x3a, 0x10, 0x2f, 0x77, 0x03, 0x86, 0xe4, 0x83,
		0x6c, 0x99, 0xe3, 0x70, 0xcf, 0x9b, 0xea, 0x00, 0x80, 0x3f, 0x5e, 0x48, 0x23, 0x57,
		0xa4, 0xae, 0x12, 0xd4, 0x14, 0xa3, 0xe6, 0x3b};
	const struct cipher_place place = {.slot = 0xff};
	struct cipher *standard;

	cr_assert_eq(cipher_new(standard_key, &standard), 0);
	cipher_encrypt_page(standard, &place, plain, sealed);

	cr_assert_arr_eq(sealed, text, sizeof(text));
	cipher_free(standard);
}

Test(cipher, a_forgotten_key_is_gone_for_whoever_maps_it)
{
	static const uint8_t zeros[CIPHER_KEY_BYTES];
	struct shared other;
	const void *view;

	cr_assert_eq(cipher_key_make(&other), 0);
	view = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, other.fd, 0);
	cr_assert_neq(view, MAP_FAILED);
	cr_assert_neq(memcmp(view, zeros, sizeof(zeros)), 0);

	cipher_key_forget(&other);

	cr_assert_eq(memcmp(view, zeros, sizeof(zeros)), 0);
}
