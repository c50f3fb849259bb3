/* SPDX-License-Identifier: Apache-2.0 */
/* What a page holds: whether it is all zero, and its digest. */
#ifndef VMSWAP_ENGINE_CONTENT_H
#define VMSWAP_ENGINE_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

/* XXH3 wants 136 bytes at least; 192 is its default secret's size. */
#define DIGEST_SECRET_BYTES 192

struct digest_secret {
	uint8_t byte[DIGEST_SECRET_BYTES];
};

/* Random, so that a guest cannot build two pages of one digest. -errno of getrandom(2). */
int digest_secret_make(struct digest_secret *ret_secret);
/* XXH3-64 of the page under the secret. */
uint64_t content_digest(const struct digest_secret *secret, const void *page);

/* Stops at the first 256 bytes that are not zero. */
bool content_is_zero(const void *page);

#endif
