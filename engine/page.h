/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a page, as rights. Only the shard that owns the page's stripe moves it, and only by
 * page_move(); everybody may read the word.
 *
 *             touch: ZEROPAGE                          touch: CONTINUE
 *   EMPTY ────────────────────► RESIDENT ◄──────────────────────────────┬───────────┐
 *     ▲ ▲                        │   ▲                                  │           │
 *     │ └─ found a hole ─────────┘   │ COPY         stage               │           │
 *     │                              │   ┌──────────────────────► STAGED ──write──► WRITING
 *     │ punched (zero)               │   │  (from RESIDENT, EMPTY)  │  ▲             │
 *     │                              │                              │  └── written ──┘
 *   PUNCHING ◄───────────────────────┼──────── zero or clean ───────┘     (now clean)
 *     │                              │
 *     │ punched (slot)               │
 *     └────► SWAPPED ──── read ──► READING ──── lost ──► POISONED
 *               ▲                    │
 *               └── read given up ───┘
 *
 *  EMPTY     Nothing is stored: the memfd has a hole, or zeros, or data put there behind our back
 *            while nothing was registered.
 *      may:     be staged when the memfd turns out to hold data.
 *      may not: be punched, have a slot.
 *  RESIDENT  The content is in the page cache; processes may map it and write it at any time.
 *      may:     keep a slot whose content was equal when the write mark was armed.
 *      may not: be read by us, be punched.
 *  STAGED    The content is in the page cache. Once its chunk is settled no process maps it, so
 *            the content cannot change but by DMA pinned before the zap: hence the dwell.
 *      may:     be read through the alias, be written to a slot.
 *      may not: be punched before the dwell is over, or unless zero or clean.
 *      clean:   the slot holds this content (settled by zap, then scan, or by digest).
 *  WRITING   As STAGED, and a write of the content to the slot is in flight. The slot belongs to
 *            that write: a touched page leaves without it, and the write frees it when it ends. A
 *            slot in flight is never handed out again, so "same state and same slot" is the
 *            generation check.
 *  PUNCHING  The slot (or zero) is the truth and the punch of the page cache is under way.
 *      may not: be mapped or filled: a fault waits for the punch.
 *  SWAPPED   The slot is the truth. stuck: the page cache still holds a page there (its punch was
 *            refused), whose content must not be used.
 *  READING   As SWAPPED, and a read of the slot is in flight; faults on the page wait for it. When
 *            it is copied in it is the guest's before its word says so (engine/copy_record.h).
 *  POISONED  The content is lost (unreadable, or not what was written). Touching it is a machine
 *            check.
 *
 * Word: slot 32 | link 24 (signed) | flags 4 | state 4.
 *
 * The link leads from a page to the one whose fault this shard served next after it when they came
 * back last: the distance in pages, 0 for none (engine/replay.h). It is a hint: nothing depends on
 * it, it may be out of date or lead round in circles. A page keeps it wherever it goes.
 */
#ifndef VMSWAP_ENGINE_PAGE_H
#define VMSWAP_ENGINE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

enum page_state {
	PAGE_EMPTY,
	PAGE_RESIDENT,
	PAGE_STAGED,
	PAGE_WRITING,
	PAGE_PUNCHING,
	PAGE_SWAPPED,
	PAGE_READING,
	PAGE_POISONED,
	PAGE_STATES,
};

#define PAGE_SLOT  (1u << 4) /* the slot field is valid and the slot is this page's */
#define PAGE_CLEAN (1u << 5) /* STAGED: the slot holds the content. Implies PAGE_SLOT */
#define PAGE_STUCK                                                                                 \
	(1u << 6) /* SWAPPED, READING: the page cache holds a page that is not the content */
#define PAGE_FLAGS (PAGE_SLOT | PAGE_CLEAN | PAGE_STUCK)

#define PAGE_LINK_SHIFT 8
#define PAGE_LINK	(0xffffffu << PAGE_LINK_SHIFT)
/* How far a link reaches, in pages: 32 GiB. */
#define PAGE_LINK_MAX ((1 << 23) - 1)

typedef uint64_t page_word;

/* From the word of a page with a slot to that of its neighbour with the next slot. */
#define PAGE_SLOT_STEP ((page_word)1 << 32)

static inline enum page_state page_state_of(page_word word)
{
	return (enum page_state)(word & 0xf);
}

static inline uint32_t page_slot_of(page_word word)
{
	return (uint32_t)(word >> 32);
}

static inline bool page_has_slot(page_word word)
{
	return (word & PAGE_SLOT) != 0;
}

static inline bool page_is_clean(page_word word)
{
	return (word & PAGE_CLEAN) != 0;
}

static inline bool page_is_stuck(page_word word)
{
	return (word & PAGE_STUCK) != 0;
}

/* To the page that followed last time; 0: none. */
static inline int32_t page_link_of(page_word word)
{
	return (int32_t)(uint32_t)word >> PAGE_LINK_SHIFT;
}

static inline page_word page_with_link(page_word word, int32_t link)
{
	return (word & ~(page_word)PAGE_LINK) | (uint32_t)link << PAGE_LINK_SHIFT;
}

/* A word with no slot, and no link: that is page_move()'s to add. */
static inline page_word page_plain(enum page_state state)
{
	return (page_word)state;
}

/* A word with a slot; @flags of PAGE_CLEAN and PAGE_STUCK. */
static inline page_word page_with_slot(enum page_state state, uint32_t slot, uint32_t flags)
{
	return (page_word)slot << 32 | flags | PAGE_SLOT | (page_word)state;
}

const char *page_state_name(enum page_state state);
/* Whether @word may stand in a table, and whether it may follow @from: the constant edge table. */
bool page_word_is_valid(page_word word);
bool page_edge_is_allowed(enum page_state from, enum page_state to);

#endif
