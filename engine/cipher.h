/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encryption at rest: AES-256-XTS of each page, by libcrypto, with a key of its own for every VM.
 *
 *   key     64 random bytes in shared memory, which a successor process can map; locked, left out
 *           of core dumps, and wiped when the VM is freed: what the store holds is lost with it
 *   tweak   slot 32 | page 32 | digest of the plain text 64
 *
 * The digest is known before a write as well as before a read, so the same tweak is used again only
 * for the same content: who sees the store twice learns at most that a page holds again, in the
 * same slot, what it held before.
 *
 * One struct cipher belongs to one thread at a time. After cipher_new() nothing is allocated and no
 * lock is taken.
 */
#ifndef VMSWAP_ENGINE_CIPHER_H
#define VMSWAP_ENGINE_CIPHER_H

#include <stdbool.h>
#include <stdint.h>

#define CIPHER_KEY_BYTES 64

struct cipher;
struct shared;

/* Where the content of a page lies, and what it is. */
struct cipher_place {
	uint64_t page; /* its low 32 bits count */
	uint32_t slot;
	uint64_t digest; /* of the plain text */
};

/* Whether the CPU has instructions for it: some GB/s, not some hundred MB/s. */
bool cipher_is_fast(void);

/* A new random key. -errno. Set-up threads. */
int cipher_key_make(struct shared *ret_key);
/* A predecessor's; @fd is dup'ed. -errno. Set-up threads. */
int cipher_key_adopt(int fd, struct shared *ret_key);
/* Wipes it for all who map it, and unmaps it. A zeroed struct is fine. */
void cipher_key_forget(struct shared *key);

/* @key: CIPHER_KEY_BYTES, only read here. -ENOMEM, -ENOTSUP (libcrypto has no AES-256-XTS). */
int cipher_new(const void *key, struct cipher **ret_cipher);
/* NULL is fine. */
void cipher_free(struct cipher *cipher);

/* One page from @plain to @sealed; these may be the same. */
void cipher_encrypt_page(
	struct cipher *cipher, const struct cipher_place *place, const void *plain, void *sealed);
/* In place. Wrong content comes out where @place or the page is wrong: check its digest. */
void cipher_decrypt_page(struct cipher *cipher, const struct cipher_place *place, void *page);

#endif
