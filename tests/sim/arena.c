/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/cipher.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

#define ARENA_BYTES   (256u << 20)
#define BUFFERS_BYTES (1u << 30)
#define CIPHERS_MAX   64u
/*
 * A larger block is one of the few tables that are mostly left alone: it stays zero from one use to
 * the next but for its beginning. Once in SWEEP_IN uses the rest is looked at.
 */
#define LARGE_BYTES (256u << 10)
#define LARGE_USED  (64u << 10)
#define LARGE_MAX   64u
#define SWEEP_IN    1024u

static struct {
	bool is_used;
	uint8_t *memory;
	size_t taken;
	uint8_t *buffers; /* for disk operations: nobody expects zeros */
	size_t buffers_taken;
	uint32_t uses;
	uint32_t large_count;
	struct {
		uint8_t *memory;
		size_t size_bytes;
		bool is_taken;
	} large[LARGE_MAX];
	uint32_t cipher_count, cipher_taken;
	struct cipher *cipher[CIPHERS_MAX];
	uint8_t key[CIPHER_KEY_BYTES]; /* of all of them */
} arena;

/* The linker puts them in the way of every caller (--wrap). */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
void __real_free(void *memory);
void __wrap_free(void *memory);
uint8_t *__real_buffer_map(uint64_t size_bytes);
uint8_t *__wrap_buffer_map(uint64_t size_bytes);
int __real_cipher_new(const void *key, struct cipher **ret_cipher);
int __wrap_cipher_new(const void *key, struct cipher **ret_cipher);
int __wrap_mlock(const void *address, size_t size);
int __wrap_madvise(void *address, size_t size, int advice);
int __wrap_cut_install(void);

static uint8_t *map(size_t size)
{
	uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ASSERT(memory != MAP_FAILED);
	return memory;
}

static void *take(size_t alignment, size_t size)
{
	uint8_t *memory;

	arena.taken = (arena.taken + alignment - 1) & ~(alignment - 1);
	memory = arena.memory + arena.taken;
	arena.taken += size;
	ASSERT(arena.taken <= ARENA_BYTES);
	return memory;
}

static void *take_large(size_t size)
{
	uint32_t i = 0;

	while (i < arena.large_count &&
		(arena.large[i].is_taken || arena.large[i].size_bytes != size))
		i++;
	ASSERT(i < LARGE_MAX);
	if (i == arena.large_count) {
		arena.large[i].memory = map(size);
		arena.large[i].size_bytes = size;
		arena.large_count++;
	}
	arena.large[i].is_taken = true;
	return arena.large[i].memory;
}

static void give_back_large(uint8_t *memory, size_t size_bytes)
{
	memset(memory, 0, LARGE_USED);
	if (arena.uses % SWEEP_IN == 0)
		ASSERT(memcmp(memory, memory + 1, size_bytes - 1) == 0);
}

void arena_begin(void)
{
	ASSERT(!arena.is_used);
	if (!arena.memory) {
		arena.memory = map(ARENA_BYTES);
		arena.buffers = map(BUFFERS_BYTES);
	}
	arena.is_used = true;
	arena.uses++;
}

void arena_end(void)
{
	ASSERT(arena.is_used);
	arena.is_used = false;
	arena.taken = 0;
	arena.buffers_taken = 0;
	arena.cipher_taken = 0;
	for (uint32_t i = 0; i < arena.large_count; i++) {
		if (arena.large[i].is_taken)
			give_back_large(arena.large[i].memory, arena.large[i].size_bytes);
		arena.large[i].is_taken = false;
	}
}

bool arena_is_used(void)
{
	return arena.is_used;
}

void *__wrap_malloc(size_t size)
{
	return arena.is_used ? take(16, size) : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	if (!arena.is_used)
		return __real_calloc(count, size);
	if (count * size > LARGE_BYTES)
		return take_large(count * size);
	return memset(take(16, count * size), 0, count * size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return arena.is_used ? take(alignment, size) : __real_aligned_alloc(alignment, size);
}

/* The old block is as good as the new one is long: what lies behind it is the arena's as well. */
void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
	void *longer;

	if (!arena.is_used)
		return __real_reallocarray(memory, count, size);
	longer = take(16, count * size);
	if (memory)
		memmove(longer, memory, count * size);
	return longer;
}

void __wrap_free(void *memory)
{
	if (!arena.is_used)
		__real_free(memory);
}

uint8_t *__wrap_buffer_map(uint64_t size_bytes)
{
	uint8_t *memory = arena.buffers + arena.buffers_taken;

	if (!arena.is_used)
		return __real_buffer_map(size_bytes);
	arena.buffers_taken += size_bytes;
	ASSERT(arena.buffers_taken <= BUFFERS_BYTES);
	return memory;
}

/* A VM has one key for good, so a cipher made for one successor is right for all. */
int __wrap_cipher_new(const void *key, struct cipher **ret_cipher)
{
	int error = 0;

	if (!arena.is_used)
		return __real_cipher_new(key, ret_cipher);
	ASSERT(arena.cipher_taken < CIPHERS_MAX);
	if (arena.cipher_count == 0)
		memcpy(arena.key, key, sizeof(arena.key));
	ASSERT(memcmp(arena.key, key, sizeof(arena.key)) == 0);
	if (arena.cipher_taken == arena.cipher_count) {
		arena.is_used = false;
		error = __real_cipher_new(key, &arena.cipher[arena.cipher_count]);
		arena.is_used = true;
		arena.cipher_count += !error;
	}
	if (!error)
		*ret_cipher = arena.cipher[arena.cipher_taken++];
	return error;
}

int __wrap_mlock(const void *address, size_t size)
{
	(void)address;
	(void)size;
	return 0;
}

int __wrap_madvise(void *address, size_t size, int advice)
{
	(void)address;
	(void)size;
	(void)advice;
	return 0;
}

/* No page of a fake world is ever cut off. */
int __wrap_cut_install(void)
{
	return 0;
}
