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

#include "engine/child.h"
#include "engine/dispatch.h"
#include "engine/limits.h"
#include "engine/process_spec.h"
#include "engine/recorder.h"
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
	bool is_encrypted; /* what is stored; a successor goes on as it was */
	bool is_plain;	   /* a fault brings its own page, and nothing ahead */
	struct children_home children;
	/* Descriptors of a predecessor that died, borrowed (successor.h); NULL: a new engine. */
	const int *parts;
};

/* Whether the CPU has instructions for encryption: some GB/s. Any thread. */
bool engine_encrypts_fast(void);
bool engine_is_encrypted(const struct engine *engine);

/*
 * Opens the store and starts the shards. -errno. With the parts of a predecessor no shard runs yet:
 * adopt its VMs with vm_new(), then engine_resume(). -ESTALE: its layout or its shards are others.
 */
int engine_start(const struct engine_config *config, struct engine **ret_engine);
/* Every VM must be freed. Stops the shards, closes the store. NULL is fine. */
void engine_stop(struct engine *engine);

uint32_t engine_shard_count(const struct engine *engine);
/* enum uffd_feature bits. The other is 0 with io_uring, or why threads do its work, slower. */
uint32_t engine_features(const struct engine *engine);
int engine_io_refusal(const struct engine *engine);
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
	const int *parts;  /* of a predecessor's VM over the same regions, borrowed; or NULL */
};

/*
 * Page tables for the regions; nothing is mapped, registered or served yet. -errno. A predecessor's
 * tables are made true again: what it had half done is ended or undone, and pages in RAM are
 * resident, whatever it had begun with them. -ESTALE: other regions or shards; -EBADMSG: the tables
 * make no sense.
 */
int vm_new(struct engine *engine, const struct vm_config *config, struct vm **ret_vm);
/* Unregistered, no process left. Frees its slots. NULL is fine. */
void vm_free(struct vm *vm);
uint64_t vm_pages(const struct vm *vm);
uint32_t vm_chunk_count(const struct vm *vm);
/* Bytes of page tables that exist now, and when every page is out. Any thread. */
uint64_t vm_metadata_bytes(const struct vm *vm);
uint64_t vm_metadata_max_bytes(const struct vm *vm);
void vm_set_dwell(struct vm *vm, uint32_t dwell_ms);

/*
 * Handshakes the descriptors and probes registration of every range (-EBUSY: another userfaultfd is
 * there), leaving nothing registered when the VM is not registered; registers and serves the
 * process when it is. On error the descriptors are closed and nothing has changed. ret_process: its
 * index.
 */
int vm_process_add(struct vm *vm, const struct process_spec *process, uint32_t *ret_process);
/*
 * Stops serving the process and closes our descriptors; a live one is unregistered first. So that
 * nobody meets a hole, no page may be out unless the process is dead or has unmapped all.
 */
void vm_process_remove(struct vm *vm, uint32_t process);
uint32_t vm_process_count(const struct vm *vm);

/*
 * Takes over the faults in all processes, or gives them back: needs no page out. -errno; -ESTALE: a
 * process has moved or unmapped memory since it was added.
 */
int vm_register(struct vm *vm);
int vm_unregister(struct vm *vm);
bool vm_is_registered(const struct vm *vm);

/* Space of freed slots goes back to the file system, at most @max_bytes now. Returns how much. */
uint64_t engine_release_space(struct engine *engine, uint64_t max_bytes);

/* What happened on the shards that control should tell or act on. */
enum engine_event_kind {
	ENGINE_PAGE_POISONED, /* its only copy could not be read back */
	ENGINE_WRITE_ERROR,
	ENGINE_MEMORY_TRUNCATED, /* the VMM cut pages off that were to be written */
	ENGINE_READ_ERROR,	 /* retried */
	ENGINE_PAGE_CORRUPT,	 /* found by a scrub; it stays out, and is lost unless that heals */
	ENGINE_PROCESS_FORKED,
	ENGINE_RANGE_UNMAPPED,
	ENGINE_RANGE_MOVED,
};

struct engine_event {
	enum engine_event_kind kind;
	struct vm *vm;
	uint32_t process; /* index */
	uint64_t page;	  /* page index, or address for ranges */
	uint64_t address; /* PAGE_CORRUPT: where the process has it; 0: nowhere */
	int error;
};

/*
 * Takes one event; false when none, and then engine_event_fd() becomes readable with the next one.
 * Events beyond the bound are counted (stats), not queued. One control thread.
 */
bool engine_next_event(struct engine *engine, struct engine_event *ret_event);
int engine_event_fd(const struct engine *engine);

#endif
