/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cipher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <openssl/evp.h>

#include "io/shared.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define TWEAK_BYTES 16

struct cipher {
	EVP_CIPHER_CTX *encrypt;
	EVP_CIPHER_CTX *decrypt;
};

bool cipher_is_fast(void)
{
	return __builtin_cpu_supports("aes");
}

/* Keeps it in RAM and out of core dumps, as far as the system lets us. */
static void protect(const struct shared *key)
{
	/* Refused without the right: the daemon as a whole is not dumpable either. */
	(void)mlock(key->memory, key->size_bytes);		    /* @control mlock */
	(void)madvise(key->memory, key->size_bytes, MADV_DONTDUMP); /* @control madvise */
}

int cipher_key_make(struct shared *ret_key)
{
	struct shared key;
	ssize_t got;
	int error = shared_open_secret("vmswap-key", CIPHER_KEY_BYTES, &key);

	if (error)
		return error;
	protect(&key);
	got = errno_of(getrandom(key.memory, CIPHER_KEY_BYTES, 0)); /* @control getrandom */
	if (got != CIPHER_KEY_BYTES) {
		shared_close(&key);
		return got < 0 ? (int)got : -EIO;
	}
	*ret_key = key;
	return 0;
}

int cipher_key_adopt(int fd, struct shared *ret_key)
{
	const int error = shared_adopt(fd, CIPHER_KEY_BYTES, ret_key);

	if (!error)
		protect(ret_key);
	return error;
}

void cipher_key_forget(struct shared *key)
{
	if (key->memory)
		explicit_bzero(key->memory, CIPHER_KEY_BYTES);
	shared_close(key);
}

int cipher_new(const void *key, struct cipher **ret_cipher)
{
	struct cipher *cipher = calloc(1, sizeof(*cipher));

	if (!cipher)
		return -ENOMEM;
	cipher->encrypt = EVP_CIPHER_CTX_new();
	cipher->decrypt = EVP_CIPHER_CTX_new();
	if (!cipher->encrypt || !cipher->decrypt) {
		cipher_free(cipher);
		return -ENOMEM;
	}
	if (EVP_EncryptInit_ex2(cipher->encrypt, EVP_aes_256_xts(), key, NULL, NULL) != 1 ||
		EVP_DecryptInit_ex2(cipher->decrypt, EVP_aes_256_xts(), key, NULL, NULL) != 1) {
		cipher_free(cipher);
		return -ENOTSUP;
	}
	*ret_cipher = cipher;
	return 0;
}

void cipher_free(struct cipher *cipher)
{
	if (!cipher)
		return;
	/* They wipe the round keys. */
	EVP_CIPHER_CTX_free(cipher->encrypt);
	EVP_CIPHER_CTX_free(cipher->decrypt);
	free(cipher);
}

static void make_tweak(const struct cipher_place *place, uint8_t tweak[TWEAK_BYTES])
{
	const uint32_t page = (uint32_t)place->page;

	memcpy(tweak, &place->slot, sizeof(place->slot));
	memcpy(tweak + 4, &page, sizeof(page));
	memcpy(tweak + 8, &place->digest, sizeof(place->digest));
}

void cipher_encrypt_page(
	struct cipher *cipher, const struct cipher_place *place, const void *plain, void *sealed)
{
	uint8_t tweak[TWEAK_BYTES];
	int length = 0;

	make_tweak(place, tweak);
	/* Neither has a way to fail once the key is set: XTS takes any whole page. */
	if (EVP_EncryptInit_ex2(cipher->encrypt, NULL, NULL, tweak, NULL) != 1 ||
		EVP_EncryptUpdate(cipher->encrypt, sealed, &length, plain, (int)PAGE_BYTES) != 1)
		UNREACHABLE();
	ASSERT(length == (int)PAGE_BYTES);
}

void cipher_decrypt_page(struct cipher *cipher, const struct cipher_place *place, void *page)
{
	uint8_t tweak[TWEAK_BYTES];
	int length = 0;

	make_tweak(place, tweak);
	if (EVP_DecryptInit_ex2(cipher->decrypt, NULL, NULL, tweak, NULL) != 1 ||
		EVP_DecryptUpdate(cipher->decrypt, page, &length, page, (int)PAGE_BYTES) != 1)
		UNREACHABLE();
	ASSERT(length == (int)PAGE_BYTES);
}
