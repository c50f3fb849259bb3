/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user_data of an operation: kind 8 | tag 24 | index 32. The index names the object the result
 * is for, the tag its incarnation (or a sub-index); what they mean is the engine's per kind.
 */
#ifndef VMSWAP_IO_TOKEN_H
#define VMSWAP_IO_TOKEN_H

#include <stdint.h>

#include "queue/base/assert.h"

#define TOKEN_TAG_MAX 0xffffffu

static inline uint64_t token_make(uint8_t kind, uint32_t tag, uint32_t index)
{
	ASSERT(tag <= TOKEN_TAG_MAX);
	return (uint64_t)kind << 56 | (uint64_t)tag << 32 | index;
}

static inline uint8_t token_kind(uint64_t token)
{
	return (uint8_t)(token >> 56);
}

static inline uint32_t token_tag(uint64_t token)
{
	return (uint32_t)(token >> 32) & TOKEN_TAG_MAX;
}

static inline uint32_t token_index(uint64_t token)
{
	return (uint32_t)token;
}

#endif
