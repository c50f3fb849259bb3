/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chunk operation at work on its owner shard. Each turn it gets a bounded slice; what needs the
 * disk or a punch waits in its phase for completions. A shard works on TASKS_MAX chunks at a time.
 *
 *   STAGE, UNSTAGE, SETTLE, RELEASE, FORGET     (one slice, stage.c)
 *   TRIM     CLASSIFY → PUNCH → PUNCHING        (evict.c)
 *   OUT      CLASSIFY → WRITE → WRITING → PUNCH → PUNCHING
 *   SCRUB    SCRUB, a read at a time                  (scrub.c)
 *   IN       FILL, until no page is out that can be read and no fill is under way   (swapin.c)
 */
#ifndef VMSWAP_ENGINE_TASK_H
#define VMSWAP_ENGINE_TASK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "engine/limits.h"
#include "queue/base/bits.h"

struct command;
struct fill;
struct shard;
struct vm;

enum task_phase {
	TASK_FREE,
	TASK_CLASSIFY,
	TASK_WRITE,
	TASK_WRITING,
	TASK_PUNCH,
	TASK_PUNCHING,
	TASK_FILL,
	TASK_SCRUB,
	TASK_DONE,
};

/* What was found of a page; valid while it stays staged. */
enum verdict {
	VERDICT_KEEP,
	VERDICT_ZERO,
	VERDICT_CLEAN,
	VERDICT_WRITE,
};

struct task {
	enum task_phase phase;
	struct command *command;
	struct vm *vm;
	uint64_t first_page;
	uint32_t pages;	    /* of the chunk */
	uint32_t cursor;    /* next page in the chunk */
	uint32_t in_flight; /* writes, punches or fills */
	uint32_t next_run;  /* first element of the next write */
	uint32_t punch_tries;
	uint32_t punch_first; /* the pages in [punch_first, cursor) are being punched */
	bool has_read_alias;
	bool is_sealing;    /* the run at next_run is being encrypted */
	uint32_t sealed;    /* pages of it so far */
	struct fill *scrub; /* the read of a scrub under way; NULL: none */
	bool is_second;	    /* it reads the suspects again, one by one */
	/* Pages that could not be read: scrub looks at them again, in leaves them out. */
	uint64_t suspect[BITMAP_WORDS(CHUNK_PAGES)];
	uint32_t unreadable; /* in: how many of them */
	uint8_t verdict[CHUNK_PAGES];
	uint32_t slot[CHUNK_PAGES];	 /* of pages whose write is in flight */
	uint16_t run_pages[CHUNK_PAGES]; /* length of the write that begins at this index of vector
					  */
	uint8_t run_seal[CHUNK_PAGES];	 /* and the buffer it goes through, when encrypted */
	uint16_t vector_page[CHUNK_PAGES]; /* page in the chunk that a vector element holds */
	uint64_t digest[CHUNK_PAGES];
	struct iovec vector[CHUNK_PAGES]; /* of a write: from the index where its run begins */
};

/* One more than may work at a time: for what is done in the slice in which it begins. */
#define TASK_PLACES (TASKS_MAX + 1u)

/* Whether @command is a chunk operation of more than one slice, which needs room. Any thread. */
bool task_is_long(const struct command *command);
/* Room for one more of these. Owner thread. */
bool task_has_room(const struct shard *shard);
/* Begins the chunk operation of @command; a long one must have room. Owner thread. */
void task_begin(struct shard *shard, struct command *command);
/*
 * One slice of the next task that has one to do: between two slices the shard looks for faults.
 * False when none has. Owner thread.
 */
bool task_step_next(struct shard *shard);
/* Completions. Owner thread. */
void task_write_done(struct shard *shard, uint32_t index, uint32_t run, int32_t result);
void task_punch_done(struct shard *shard, uint32_t index, int32_t result);

/* Parts of task.c; those that return bool say whether they made progress. Owner thread. */
void stage_walk(struct shard *shard, struct task *task);
void stage_guard(struct task *task);
void stage_unstage(struct shard *shard, struct task *task);
void stage_settle(struct shard *shard, struct task *task);
void stage_release(struct shard *shard, struct task *task);
void stage_forget(struct shard *shard, struct task *task);
bool evict_begin(struct shard *shard, struct task *task);
bool evict_step(struct shard *shard, struct task *task);
bool scrub_step(struct shard *shard, struct task *task);
bool swapin_step(struct shard *shard, struct task *task);
/* A bulk fill of this task ended: what it brought, and the error that left the rest out. */
void swapin_fill_done(struct task *task, uint32_t pages, int error);
/*
 * The disk does not give these pages of a bulk fill: whether to try the first of them alone, and,
 * once that was tried, to lose it.
 */
bool swapin_may_split(const struct task *task);
bool swapin_may_poison(const struct task *task);
/* They stay out, and the task does not try them again. */
void swapin_leave(struct task *task, uint64_t page, uint32_t count);

#endif
