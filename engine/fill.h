/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing pages back: one fill is one read of neighbouring slots into a registered buffer, the
 * check of every digest, and the copies into the VM. Faults have buffers of their own, so bulk work
 * never makes a fault wait for a buffer.
 *
 *   begin      SWAPPED → READING, read submitted
 *   opening    read: decrypted where the VM is encrypted, digests checked; what a fault waits for
 *              at once, the rest in steps. Wrong or failed: read again, page by page in the end.
 *              Lost when wrong, or when a fault waits for it: POISONED; else back to SWAPPED
 *   copy       COPY, atomic; then READING → RESIDENT. In steps of FAULT_READ_PAGES, so that no
 *              fault waits behind 512 KiB of copies; EAGAIN is tried again in the next turn
 *   stuck      the page cache still holds something: the content is put there through the alias,
 *              which no process can see as every mapping traps, then CONTINUE
 */
#ifndef VMSWAP_ENGINE_FILL_H
#define VMSWAP_ENGINE_FILL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/limits.h"

#define FILLS_MAX (FAULT_READS_MAX + BULK_READS_MAX)

struct fault;
struct replay_run;
struct served;
struct shard;
struct task;
struct vm;

enum fill_phase {
	FILL_FREE,
	FILL_READING,
	FILL_OPENING, /* its content is there, unchecked */
	FILL_COPYING,
	FILL_READ, /* FILL_SCRUB: its content is there */
};

enum fill_kind {
	FILL_FAULT,  /* a fault waits for it */
	FILL_REPLAY, /* read ahead along a replay; becomes FILL_FAULT when a fault comes for it */
	FILL_BULK,
	FILL_SCRUB, /* bulk; no page is moved */
};

struct fill {
	enum fill_phase phase;
	enum fill_kind kind;
	bool is_write; /* of the fault: its page gets no write mark and drops its slot */
	uint8_t tries;
	struct vm *vm;
	struct served *served; /* whose mapping is filled */
	struct task *task;     /* bulk: to be told */
	uint64_t first_page;
	uint32_t count;	 /* pages */
	uint32_t next;	 /* first page not yet copied */
	uint32_t opened; /* pages checked, in FILL_OPENING and FILL_READ */
	int error;	 /* FILL_READ: nothing could be read */
	uint32_t first_slot;
	uint64_t read_ns; /* of the fault's message */
	uint32_t replay;  /* id, 0: none */
	uint32_t replay_at;
	uint8_t *buffer;
};

struct fills {
	struct fill fill[FILLS_MAX]; /* faults first, then bulk */
	uint32_t free[FILLS_MAX];    /* stack of fault fills from the bottom, of bulk fills from the
					top */
	uint32_t fault_free;
	uint32_t bulk_free;
	uint32_t copying; /* fills that have their content: FILL_OPENING, FILL_COPYING */
	uint32_t opening;
	uint32_t reading;
	uint32_t faults; /* fills of FILL_FAULT */
	uint8_t *memory;
	uint64_t memory_bytes;
};

/* Buffers, locked. -errno. Set-up threads. */
int fills_init(struct fills *fills);
void fills_destroy(struct fills *fills);
/* Registers the buffers with the shard's ring. Owner thread. */
int fills_register(struct shard *shard);
/* One that is free; NULL: none. Those for faults are also for what is read ahead. Owner thread. */
struct fill *fills_take(struct fills *fills, bool is_fault);
void fills_put(struct fills *fills, struct fill *fill);
static inline uint32_t fill_index(const struct fills *fills, const struct fill *fill)
{
	return (uint32_t)(fill - fills->fill);
}

/*
 * Starts the fill of @count SWAPPED pages with consecutive slots. False when no buffer is free.
 * @task: bulk work, else a fault of @is_write read at @read_ns. Owner thread.
 */
bool fill_begin_fault(struct shard *shard, struct served *served, uint64_t page, uint32_t count,
	bool is_write, uint64_t read_ns);
bool fill_begin_bulk(struct shard *shard, struct task *task, struct served *served, uint64_t page,
	uint32_t count);
/* False when no buffer but those for faults is left. Owner thread. */
bool fill_begin_replay(struct shard *shard, struct served *served, const struct replay_run *run);
/*
 * @fault waits for a page that is READING: a read ahead is its fault's from now on. True when it
 * was one; then *@ret_run is the page on its replay. Owner thread.
 */
bool fill_claim(struct shard *shard, const struct fault *fault, struct replay_run *ret_run);
/*
 * Reads @count pages' slots, which follow each other, and leaves the pages alone. NULL when no
 * buffer is free. The task ends it once it is read. Owner thread.
 */
struct fill *fill_begin_scrub(
	struct shard *shard, struct task *task, uint64_t page, uint32_t count);
static inline bool fill_is_read(const struct fill *fill)
{
	return fill->phase == FILL_READ;
}
/*
 * Page @i of what was read, decrypted now where the VM is encrypted: whether it is what the page's
 * digest says. Once a page and read. Owner thread.
 */
bool fill_open_page(const struct shard *shard, const struct fill *fill, uint32_t i);
void fill_end_scrub(struct shard *shard, struct fill *fill);
/* The read of fill @index ended with @result. Owner thread. */
void fill_read_done(struct shard *shard, uint32_t index, int32_t result);
/* Copies a step of every fill that has its content. True when there were any. Owner thread. */
bool fill_copy_step(struct shard *shard);

#endif
