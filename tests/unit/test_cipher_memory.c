/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages are encrypted and decrypted without an allocation: shard threads make none. A program, as
 * libcrypto lets its memory be counted only before it has allocated any.
 */
#include <stdlib.h>

#include <openssl/crypto.h>

#include "engine/cipher.h"
#include "io/shared.h"
#include "queue/base/bits.h"
#include "tests/support/check.h"

static uint64_t allocations;
static uint8_t page[PAGE_BYTES];

static void *count_malloc(size_t bytes, const char *file, int line)
{
	(void)file;
	(void)line;
	allocations++;
	return malloc(bytes);
}

static void *count_realloc(void *memory, size_t bytes, const char *file, int line)
{
	(void)file;
	(void)line;
	allocations++;
	return realloc(memory, bytes);
}

static void count_free(void *memory, const char *file, int line)
{
	(void)file;
	(void)line;
	free(memory);
}

int main(void)
{
	struct cipher_place place = {0};
	struct shared key;
	struct cipher *cipher;

	CHECK(CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) == 1);
	CHECK(cipher_key_make(&key) == 0);
	CHECK(cipher_new(key.memory, &cipher) == 0);
	CHECK(allocations > 0);
	allocations = 0;

	for (place.slot = 0; place.slot < 1000; place.slot++) {
		cipher_encrypt_page(cipher, &place, page, page);
		cipher_decrypt_page(cipher, &place, page);
	}

	CHECK(allocations == 0);
	cipher_free(cipher);
	cipher_key_forget(&key);
	return 0;
}
