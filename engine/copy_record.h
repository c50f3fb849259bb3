/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of a VM a shard is making visible right now. A page that is copied in is the guest's
 * before its word can say so: it may be written, and given back, which leaves a hole. Whoever finds
 * the word READING and a hole cannot tell from these whether the slot or the hole is the truth. The
 * kernel can: what it has done it writes into the call's argument, before the call ends, also that
 * of a thread that is being killed (userfaultfd_copy() of fs/userfaultfd.c). So that lies in shared
 * memory.
 *
 * Owner thread; a successor, when the owner is dead.
 */
#ifndef VMSWAP_ENGINE_COPY_RECORD_H
#define VMSWAP_ENGINE_COPY_RECORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/uffd.h"

/* In a line of its own. */
struct copy_record {
	uint64_t page;
	_Atomic uint64_t pages; /* 0: none */
	struct uffd_call call;
	uint64_t unused;
};
_Static_assert(sizeof(struct copy_record) == 64, "a cache line, the same in each version");

/* The words of these pages are READING; then the call is made, with record->call. */
void copy_record_begin(struct copy_record *record, uint64_t page, uint64_t pages);
/* The words say what came of it, before any of these pages is READING again. */
void copy_record_end(struct copy_record *record);
/* Of a page whose word is READING: it has become the guest's. */
bool copy_record_has(const struct copy_record *record, uint64_t page);

#endif
