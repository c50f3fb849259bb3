/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's public face: N shard threads over one swap store, the VMs they serve, and the chunk
 * operations that control threads dispatch to them. Everything here is for control threads (they
 * may block); nothing here may be called on a shard thread.
 *
 * One control thread at a time may change a given VM (add, remove, register, dispatch): ctl gives
 * each VM one worker thread. Reading counters is free for all.
 */
#ifndef VMSWAP_ENGINE_ENGINE_H
#define VMSWAP_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/limits.h"
#include "engine/stats.h"
#include "io/swapfile.h"
#include "queue/base/bits.h"

struct engine;
struct vm;

struct engine_config {
	uint32_t shard_count; /* 1…SHARDS_MAX */
	const int *cpus;      /* CPU of each shard, or NULL: not pinned */
	uint32_t poll_us;     /* spin this long after activity before sleeping */
	struct swapfile_config store;
};

/* Opens the store and starts the shards. -errno. */
int engine_start(const struct engine_config *config, struct engine **ret_engine);
/* Every VM must be freed. Stops the shards, closes the store. NULL is fine. */
void engine_stop(struct engine *engine);

uint32_t engine_shard_count(const struct engine *engine);
uint32_t engine_features(
	const struct engine *engine); /* enum uffd_feature bits the kernel offers */
uint64_t engine_store_bytes(const struct engine *engine);
uint64_t engine_store_used_bytes(const struct engine *engine);
uint64_t engine_store_retired_bytes(const struct engine *engine);

/* A run of guest memory: a part of a memfd. */
struct region_spec {
	int memfd; /* dup'ed by vm_new() */
	uint64_t file_offset;
	uint64_t size_bytes;
};

struct vm_config {
	const struct region_spec *regions;
	uint32_t region_count; /* 1…REGIONS_MAX */
	uint32_t dwell_ms;     /* between a zap and a punch; see design.md 3, rule 1 */
	bool trust_discard;    /* REMOVE events free slots */
	bool verify_clean; /* digest check of clean pages before their punch; the default is true */
};

/* Page tables for the regions; nothing is mapped, registered or served yet. -errno. */
int vm_new(struct engine *engine, const struct vm_config *config, struct vm **ret_vm);
/* Unregistered, no process left. Frees its slots. NULL is fine. */
void vm_free(struct vm *vm);

uint64_t vm_pages(const struct vm *vm);
uint32_t vm_chunk_count(const struct vm *vm);
void vm_set_dwell(struct vm *vm, uint32_t dwell_ms);

/* A process that maps the VM's memory. */
struct process_spec {
	int pid;
	int pidfd;		 /* dup'ed */
	const uint64_t *address; /* of each region in this process; 0: not mapped there */
	const int *uffds; /* one a shard, made in this process, no handshake yet; ownership moves */
};

/*
 * Handshakes the descriptors and probes registration of every range (-EBUSY: another userfaultfd is
 * there), leaving nothing registered when the VM is not registered; registers and serves the
 * process when it is. On error the descriptors are closed and nothing has changed. ret_process: its
 * index.
 */
int vm_process_add(struct vm *vm, const struct process_spec *process, uint32_t *ret_process);
/*
 * Stops serving the process and closes our descriptors. A live process is unregistered first; so
 * that nobody meets a hole, the VM must have no page out unless the process is dead or has unmapped
 * all.
 */
void vm_process_remove(struct vm *vm, uint32_t process);
uint32_t vm_process_count(const struct vm *vm);

/* Takes over the faults in all processes, or gives them back. Unregistering needs no page out.
 * -errno. */
int vm_register(struct vm *vm);
int vm_unregister(struct vm *vm);
bool vm_is_registered(const struct vm *vm);

/* What is to be done with a chunk; one operation a command. */
enum chunk_op {
	CHUNK_STAGE,   /* RAM pages become staged, unsettled; the zap must follow */
	CHUNK_UNSTAGE, /* @bits: pages a zap did not reach become resident again; before settling */
	CHUNK_SETTLE,  /* @bits: clean by mark; decides which slots are valid, starts the dwell */
	CHUNK_TRIM,    /* drop zero and clean staged pages */
	CHUNK_OUT,     /* as trim, and write what is left, then drop it */
	CHUNK_IN,      /* bring swapped pages back into RAM */
	CHUNK_RELEASE, /* staged pages become resident; slots are freed: before unregistering */
	CHUNK_FORGET,  /* every page becomes empty, every slot free: nobody maps the memory any more
			*/
};

/* Sum over the chunks of one dispatch. */
struct dispatch_result {
	uint64_t chunks;
	uint64_t pages;		/* staged / dropped / written and dropped / brought in */
	uint64_t zero_pages;	/* of these, dropped because all zero */
	uint64_t clean_pages;	/* of these, dropped without a write */
	uint64_t left_pages;	/* wanted to move but stayed: touched, store full, error */
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

/*
 * Runs @op over the chunks [first, first + count) that may have work, in order, on the shards that
 * own them, a bounded number at a time, and waits for them. After an abort the chunks already
 * handed out end, the rest is left. @bits holds CHUNK_PAGES bits a chunk of the range for
 * CHUNK_UNSTAGE and CHUNK_SETTLE (there NULL: no marks, the digest decides), else NULL. @control
 * may be NULL. 0 (errors of single pages are in ret_result), -ECANCELED after an abort.
 */
int vm_dispatch(struct vm *vm, enum chunk_op op, uint32_t first, uint32_t count,
	const uint64_t *bits, struct dispatch_control *control, struct dispatch_result *ret_result);

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

/* Space of freed slots goes back to the file system, at most @max_bytes now. Returns bytes given
 * back. */
uint64_t engine_release_space(struct engine *engine, uint64_t max_bytes);

/* Things that happened on the shards and that control should tell or act on. */
enum engine_event_kind {
	ENGINE_PAGE_POISONED, /* its only copy could not be read back */
	ENGINE_WRITE_ERROR,
	ENGINE_READ_ERROR, /* retried */
	ENGINE_PROCESS_FORKED,
	ENGINE_RANGE_UNMAPPED,
	ENGINE_RANGE_MOVED,
};

struct engine_event {
	enum engine_event_kind kind;
	struct vm *vm;
	uint32_t process; /* index */
	uint64_t page;	  /* page index, or address for ranges */
	int error;
};

/*
 * Takes one event; false when none, and then engine_event_fd() becomes readable with the next one.
 * Events beyond the bound are counted (stats), not queued. One control thread.
 */
bool engine_next_event(struct engine *engine, struct engine_event *ret_event);
int engine_event_fd(const struct engine *engine);

#endif
