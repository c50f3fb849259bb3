/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledger entry, one atomic word a page:
 *
 *    63      62 61   60 59    57                                   0
 *   | held | kind | before | - |  generation                       |
 *
 * Taking the held bit is acquire, giving it back is release, so the page's bytes travel with it
 * from one thread (or process) to the next.
 */
#include "tools/vmswap-guest/memory.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define ENTRY_HELD	((uint64_t)1 << 63)
#define KIND_SHIFT	61
#define BEFORE_SHIFT	59
#define KIND_MASK	3u
#define GENERATION_MASK (((uint64_t)1 << 58) - 1)

static uint64_t *page_words(const struct guest_memory *memory, uint64_t page)
{
	ASSERT(page < memory->pages);
	return (uint64_t *)(void *)(memory->base + page * PAGE_BYTES);
}

static uint64_t entry_pack(const struct page_claim *claim)
{
	ASSERT(claim->generation <= GENERATION_MASK);
	return (uint64_t)claim->kind << KIND_SHIFT | (uint64_t)claim->before << BEFORE_SHIFT |
	       claim->generation;
}

static void *map(size_t size, int flags, int fd)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
}

int memory_open(
	uint64_t size_bytes, bool is_anonymous, bool is_shared, struct guest_memory *ret_memory)
{
	const uint64_t pages = size_bytes / PAGE_BYTES;
	CLEANUP_FD int memfd = -1;
	void *base, *ledger;

	ASSERT(size_bytes > 0 && size_bytes % CHUNK_BYTES == 0);
	ASSERT(!is_anonymous || !is_shared);
	if (!is_anonymous) {
		memfd = errno_of(memfd_create("guest-memory", MFD_CLOEXEC));
		if (memfd < 0)
			return memfd;
		if (ftruncate(memfd, (off_t)size_bytes) < 0)
			return -errno;
	}
	base = map(size_bytes, is_anonymous ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, memfd);
	if (base == MAP_FAILED)
		return -errno;
	ledger = map(pages * sizeof(uint64_t),
		MAP_ANONYMOUS | (is_shared ? MAP_SHARED : MAP_PRIVATE), -1);
	if (ledger == MAP_FAILED) {
		int error = -errno;

		(void)munmap(base, size_bytes);
		return error;
	}
	*ret_memory = (struct guest_memory){
		.memfd = take_fd(&memfd), .pages = pages, .base = base, .ledger = ledger};
	return 0;
}

int memory_map_again(struct guest_memory *memory)
{
	const size_t size = memory->pages * PAGE_BYTES;
	void *base;

	ASSERT(memory->memfd >= 0);
	base = map(size, MAP_SHARED, memory->memfd);
	if (base == MAP_FAILED)
		return -errno;
	if (munmap(memory->base, size) < 0)
		return -errno;
	memory->base = base;
	return 0;
}

bool memory_try_claim(struct guest_memory *memory, uint64_t page, struct page_claim *ret_claim)
{
	uint64_t entry;

	ASSERT(page < memory->pages);
	entry = atomic_load_explicit(&memory->ledger[page], memory_order_relaxed);
	if (entry & ENTRY_HELD)
		return false;
	/* pairs with memory_release() */
	if (!atomic_compare_exchange_strong_explicit(&memory->ledger[page], &entry,
		    entry | ENTRY_HELD, memory_order_acquire, memory_order_relaxed))
		return false;
	*ret_claim = (struct page_claim){.page = page,
		.generation = entry & GENERATION_MASK,
		.kind = (enum page_kind)(entry >> KIND_SHIFT & KIND_MASK),
		.before = (enum page_kind)(entry >> BEFORE_SHIFT & KIND_MASK)};
	return true;
}

void memory_claim(struct guest_memory *memory, uint64_t page, struct page_claim *ret_claim)
{
	/* Whoever holds it is doing one page operation: bounded. */
	while (!memory_try_claim(memory, page, ret_claim))
		(void)sched_yield();
}

void memory_release(struct guest_memory *memory, const struct page_claim *claim)
{
	ASSERT(claim->page < memory->pages);
	/* pairs with memory_try_claim() */
	atomic_store_explicit(
		&memory->ledger[claim->page], entry_pack(claim), memory_order_release);
}

void memory_rewrite(struct guest_memory *memory, struct page_claim *claim, bool with_zeros)
{
	uint64_t *words = page_words(memory, claim->page);

	claim->generation++;
	claim->kind = with_zeros ? PAGE_ZERO : PAGE_PATTERN;
	if (!with_zeros) {
		pattern_fill(words, claim->page, claim->generation);
		return;
	}
	for (uint32_t i = 0; i < PATTERN_WORDS; i++)
		words[i] = 0;
}

bool memory_verify(
	struct guest_memory *memory, struct page_claim *claim, struct mismatch *ret_mismatch)
{
	const uint64_t *words = page_words(memory, claim->page);

	if (claim->kind == PAGE_PATTERN)
		return pattern_check(words, claim->page, claim->generation, ret_mismatch);
	if (claim->kind == PAGE_ZERO)
		return pattern_check_zero(words, ret_mismatch);
	ASSERT(claim->kind == PAGE_PUNCHED);
	claim->kind = PAGE_ZERO;
	if (claim->before == PAGE_ZERO || pattern_check_zero(words, ret_mismatch))
		return pattern_check_zero(words, ret_mismatch);
	claim->kind = PAGE_PATTERN;
	return pattern_check(words, claim->page, claim->generation, ret_mismatch);
}

static void claim_discarded(struct page_claim *claim)
{
	if (claim->kind != PAGE_PUNCHED)
		claim->before = claim->kind;
	claim->kind = PAGE_PUNCHED;
}

int memory_punch(struct guest_memory *memory, struct page_claim *claim)
{
	const off_t offset = (off_t)(claim->page * PAGE_BYTES);

	if (fallocate(memory->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
		    (off_t)PAGE_BYTES) < 0)
		return -errno;
	claim_discarded(claim);
	return 0;
}

int memory_remove(struct guest_memory *memory, struct page_claim *claim)
{
	if (madvise(page_words(memory, claim->page), PAGE_BYTES, MADV_REMOVE) < 0)
		return -errno;
	claim_discarded(claim);
	return 0;
}

int memory_unmap(struct guest_memory *memory, const struct page_claim *claim)
{
	return errno_of(madvise(page_words(memory, claim->page), PAGE_BYTES, MADV_DONTNEED));
}
