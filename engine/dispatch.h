/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunk operations, as control threads ask for them, and the pieces that a zap covers. A part of
 * engine/engine.h, whose rules on threads hold here as well.
 */
#ifndef VMSWAP_ENGINE_DISPATCH_H
#define VMSWAP_ENGINE_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* What is to be done with a chunk; one operation a command. */
enum chunk_op {
	CHUNK_STAGE,   /* RAM pages become staged, unsettled; the zap must follow */
	CHUNK_GUARD,   /* a zap without staging is about to come; CHUNK_SETTLE ends it */
	CHUNK_UNSTAGE, /* @bits: pages a zap did not reach become resident again; before settling */
	CHUNK_SETTLE,  /* @bits: clean by mark; decides which slots are valid, starts the dwell */
	CHUNK_TRIM,    /* drop zero and clean staged pages */
	CHUNK_OUT,     /* as trim, and write what is left, then drop it */
	CHUNK_IN,      /* bring swapped pages back into RAM; what cannot be read stays out */
	CHUNK_IN_OR_POISON, /* the same, but what cannot be read is lost */
	CHUNK_SCRUB,	    /* read every slot and check its content; pages stay as they are */
	CHUNK_RELEASE, /* staged pages become resident; slots are freed: before unregistering */
	CHUNK_FORGET,  /* every page becomes empty, every slot free: nobody maps the memory any more
			*/
};

/* Sum over the chunks of one dispatch. */
struct dispatch_result {
	uint64_t chunks;
	uint64_t pages;		/* staged / dropped / written and dropped / brought in / checked */
	uint64_t zero_pages;	/* of these, dropped because all zero */
	uint64_t clean_pages;	/* of these, dropped without a write */
	uint64_t left_pages;	/* wanted to move but stayed: touched, store full, error */
	uint64_t bad_pages;	/* scrub: out, and their slot does not hold their content */
	uint64_t mended_pages;	/* scrub: the same, but in RAM; they left the slot */
	uint64_t bytes;		/* written or read */
	uint64_t next_ready_ns; /* earliest moment a refused dwell ends (clock_ns()); 0: none
				   refused */
	int error; /* first -errno a chunk met: -EIO, -ENOSPC…; pages stay where they are */
};

/* Progress that other threads may read while a dispatch runs; @abort may be set by any thread. */
struct dispatch_control {
	_Atomic bool abort;
	_Atomic uint64_t chunks_done;
	_Atomic uint64_t pages_done;
};

/* Chunks, and what control knows of their pages. */
struct chunk_range {
	uint32_t first, count;
	/*
	 * CHUNK_PAGES bits a chunk of the range, for CHUNK_UNSTAGE and CHUNK_SETTLE; there NULL: no
	 * marks, the digest decides. Else NULL.
	 */
	const uint64_t *bits;
};

/*
 * Runs @op over the chunks of @range (NULL: all) that may have work, on the shards that own them, a
 * bounded number at a time, and waits for them. After an abort the chunks already handed out end,
 * the rest is left. @control may be NULL. 0 (errors of single pages are in ret_result), -ECANCELED
 * after an abort, -ENOMEM, -EMFILE.
 */
int vm_dispatch(struct vm *vm, enum chunk_op op, const struct chunk_range *range,
	struct dispatch_control *control, struct dispatch_result *ret_result);

/* The next chunk at or after @first with pages in the store; any thread. 0, or -ENXIO: none. */
int vm_next_stored(const struct vm *vm, uint32_t first, uint32_t *ret_chunk);

/*
 * The next run of pages at or after @first that are out and not lost, as they are now; any thread.
 * 0, or -ENXIO: none.
 */
int vm_next_out(const struct vm *vm, uint64_t first, uint64_t *ret_first, uint64_t *ret_count);

/*
 * The next run of chunks at or after @first, at most @max long, whose pages lie in one stripe and
 * one region and which may have RAM pages: what one zap covers. 0, or -ENXIO when there is none.
 */
int vm_next_piece(
	struct vm *vm, uint32_t first, uint32_t max, uint32_t *ret_first, uint32_t *ret_count);
/* Where a run of chunks of one region lies in @process: 0 or -ENOENT (not mapped there). */
int vm_piece_address(const struct vm *vm, uint32_t process, uint32_t first, uint32_t count,
	uint64_t *ret_address, uint64_t *ret_size_bytes);
/*
 * Write marks of a piece, read after its zap: what CHUNK_SETTLE takes. -ENOTSUP: use digests
 * (several processes, or a kernel without asynchronous marks).
 */
int vm_scan_piece(struct vm *vm, uint32_t first, uint32_t count, uint64_t *ret_marked);
/* Pages of a piece that some process still maps, after its zap. */
int vm_scan_present_piece(struct vm *vm, uint32_t first, uint32_t count, uint64_t *ret_present);
/* The zap without injection (design.md 3): all processes of the VM. Not exhaustive. -errno. */
int vm_pageout_piece(struct vm *vm, uint32_t first, uint32_t count);

#endif
