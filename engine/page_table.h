/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page table of a VM: a word a page, a digest a page that has a slot, a summary a chunk. All of
 * it lives in sparse shared memory: what was never written costs nothing, and a successor process
 * can map it.
 *
 *   words    8 B a page      digests  8 B a page (touched only for pages with slots)
 *   chunks  16 B a chunk (2 MiB of guest)
 *
 * Every word has one writer, the owner shard; the summaries too. Reading is free for all.
 */
#ifndef VMSWAP_ENGINE_PAGE_TABLE_H
#define VMSWAP_ENGINE_PAGE_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/page.h"
#include "io/shared.h"
#include "queue/base/bits.h"

struct stats_block;

/* What control threads need to know of a chunk without reading its 512 words. */
struct chunk_summary {
	/* When the pages staged last were zapped (clock_ns()); see CHUNK_IS_ZAPPED. */
	_Atomic uint64_t settled_ns;
	_Atomic uint16_t staged; /* STAGED, WRITING */
	_Atomic uint16_t out;	 /* PUNCHING, SWAPPED, READING, POISONED */
	_Atomic uint16_t slots;	 /* pages with PAGE_SLOT */
	uint16_t unused;
};
_Static_assert(sizeof(struct chunk_summary) == 16, "chunk_summary is 16 bytes");

/*
 * Between stage and settle, in settled_ns: beside the time of the last zap when nothing new was
 * staged, in place of it (CHUNK_UNSETTLED) when something was.
 */
#define CHUNK_IS_ZAPPED ((uint64_t)1 << 63)
#define CHUNK_UNSETTLED UINT64_MAX

struct page_table {
	/* constant after page_table_open() */
	uint64_t page_count; /* a multiple of CHUNK_PAGES */
	_Atomic page_word *words;
	_Atomic uint64_t *digests;
	struct chunk_summary *chunks;
	struct shared words_memory, digests_memory, chunks_memory;
};

/* All pages EMPTY. -errno. Set-up threads. */
int page_table_open(uint64_t page_count, struct page_table *ret_table);
/* The descriptors of a predecessor's tables, dup'ed: words, digests, chunks. -errno. As above. */
int page_table_adopt(uint64_t page_count, const int fds[3], struct page_table *ret_table);
/*
 * How many pages from @page on, before @end, have the same word but for slots that follow each
 * other. Before any shard runs, as below.
 */
uint32_t page_run(const struct page_table *table, uint64_t page, uint64_t end);
/*
 * Counts @count pages from @first, the beginning of a chunk, into its summary, which was zero, and
 * into @stats, which took all pages for EMPTY. All words are valid.
 */
void page_table_recount(
	struct page_table *table, struct stats_block *stats, uint64_t first, uint32_t count);
/* A zeroed struct is fine. */
void page_table_close(struct page_table *table);

static inline page_word page_load(const struct page_table *table, uint64_t page)
{
	return atomic_load_explicit(&table->words[page], memory_order_relaxed);
}

static inline struct chunk_summary *page_chunk(const struct page_table *table, uint64_t page)
{
	return &table->chunks[page / CHUNK_PAGES];
}

/* Nothing in a chunk that is being zapped may leave RAM, nor may its slots go as discarded. */
static inline bool chunk_is_zapped(const struct chunk_summary *chunk)
{
	return atomic_load_explicit(&chunk->settled_ns, memory_order_relaxed) & CHUNK_IS_ZAPPED;
}

/*
 * The only writer of states and slots: asserts that the edge is allowed, keeps the summary and the
 * gauges of @stats in step. The page keeps its link; @to has none. The store is a release: what the
 * state promises (a written slot, its digest) is visible before it. Owner thread.
 */
void page_move(struct page_table *table, struct stats_block *stats, uint64_t page, page_word to);
/*
 * The same without summary and gauges: for who works alone on the tables of the dead, a rescue
 * (ctl/rescue) or a successor before it counts anew.
 */
void page_put(struct page_table *table, uint64_t page, page_word to);
/* The only writer of links; within PAGE_LINK_MAX. Owner thread. */
void page_set_link(struct page_table *table, uint64_t page, int32_t link);

static inline uint64_t page_digest(const struct page_table *table, uint64_t page)
{
	return atomic_load_explicit(&table->digests[page], memory_order_relaxed);
}

/* Before the page moves to a word whose slot holds that content. Owner thread. */
static inline void page_set_digest(struct page_table *table, uint64_t page, uint64_t digest)
{
	atomic_store_explicit(&table->digests[page], digest, memory_order_relaxed);
}

struct page_count {
	uint64_t state[PAGE_STATES];
	uint64_t slots;
};

/*
 * Recounts everything, asserts that words are valid, that summaries agree and that no two pages
 * share a slot. The owner shards must be quiet. Tests.
 */
void page_table_check(const struct page_table *table, struct page_count *ret_count);

#endif
