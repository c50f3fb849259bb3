/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory and the ledger: what each page must hold, kept outside guest memory. Guest memory is
 * a mapping of this process; the ledger and the progress are shared by all processes of the
 * program.
 *
 * A page belongs to whoever holds its ledger entry. Any thread of any process.
 */
#ifndef VMSWAP_TOOLS_MEMORY_H
#define VMSWAP_TOOLS_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/vmswap-guest/pattern.h"

/* What a page must hold. */
enum page_kind {
	PAGE_PATTERN, /* the pattern of its generation */
	PAGE_ZERO,    /* zeros */
	PAGE_PUNCHED, /* discarded: zeros, or what it held before (@before) */
};

struct guest_memory {
	int memfd; /* -1: anonymous */
	uint64_t pages;
	uint8_t *base;
	_Atomic uint64_t *ledger; /* one entry a page */
};

/* An entry while it is held. */
struct page_claim {
	uint64_t page;
	uint64_t generation;
	enum page_kind kind;
	enum page_kind before; /* PAGE_PUNCHED: what it was */
};

/* @is_shared: other processes will use the ledger. -errno. */
int memory_open(
	uint64_t size_bytes, bool is_anonymous, bool is_shared, struct guest_memory *ret_memory);
/* Replaces the mapping inherited over fork() by one of this process's own. -errno. */
int memory_map_again(struct guest_memory *memory);

/* False: somebody else has it. */
bool memory_try_claim(struct guest_memory *memory, uint64_t page, struct page_claim *ret_claim);
/* Waits for it. */
void memory_claim(struct guest_memory *memory, uint64_t page, struct page_claim *ret_claim);
/* Writes the entry back and lets go. */
void memory_release(struct guest_memory *memory, const struct page_claim *claim);

/* Writes the next generation, or zeros. */
void memory_rewrite(struct guest_memory *memory, struct page_claim *claim, bool with_zeros);
/*
 * True when the page holds what the claim says. A discarded page is then known: from now on it must
 * stay what it was seen to be.
 */
bool memory_verify(
	struct guest_memory *memory, struct page_claim *claim, struct mismatch *ret_mismatch);

/* The two ways VMMs give pages back. -errno. */
int memory_punch(struct guest_memory *memory, struct page_claim *claim);
int memory_remove(struct guest_memory *memory, struct page_claim *claim);
/* MADV_DONTNEED on shared memory: unmapped, still there. -errno. */
int memory_unmap(struct guest_memory *memory, const struct page_claim *claim);

#endif
