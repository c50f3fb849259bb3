/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM inside the engine: its regions, their chunks and stripes, its page table, and what each
 * shard keeps of it. Page indices are dense over the regions; each region begins on a chunk, so the
 * last chunk of a region may be short.
 *
 *   regions    | region 0 ............ | region 1 ... |
 *   chunks     | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |      2 MiB each
 *   stripes    |   0   |   1   |   2   |   3   |  4        stripe i belongs to shard i mod N
 */
#ifndef VMSWAP_ENGINE_VM_H
#define VMSWAP_ENGINE_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/limits.h"
#include "engine/page_table.h"
#include "engine/replay.h"
#include "engine/spans.h"
#include "engine/stats.h"

struct cipher;
struct cmdq;
struct command;
struct engine;
struct recorder;
struct recorders;
struct served;

/* About this many stripes a shard: enough to spread a hot range, few enough VMAs in the VMM. */
#define STRIPES_PER_SHARD 8u
/* Faults that follow each other are recognised for this many streams a shard (vCPUs, devices). */
#define STREAMS_MAX 8u

struct region {
	int memfd;
	uint64_t file_offset;
	uint64_t size_bytes;
	uint32_t first_chunk;
	uint32_t chunk_count;
	uint8_t *alias;
};

/* A run of faults that goes upwards through memory. */
struct stream {
	uint64_t next_page;
	uint32_t window; /* pages to bring with the next fault */
	uint32_t age;
};

/* What one shard keeps of a VM. Owner shard only, but for the statistics. */
struct vm_shard {
	struct served *served[PROCESSES_MAX];
	uint32_t served_count;
	struct stream stream[STREAMS_MAX];
	uint32_t stream_clock;
	bool is_plain;		   /* faults bring their own pages only; constant */
	struct recorder *recorder; /* NULL: not recorded */
	struct replays replays;
	struct cipher *cipher; /* NULL: what is stored is not encrypted */
};

struct vm_process {
	bool is_used;
	int pid;
	uint64_t tag; /* process_spec */
	int pidfd;
	int pagemap; /* -1 when it could not be opened */
	int uffd[SHARDS_MAX];
	uint64_t address[REGIONS_MAX];
	struct spans spans; /* when it came; shards have copies that follow its moves */
};

struct vm {
	/* constant after vm_new() */
	struct engine *engine;
	uint64_t pages; /* without the padding of short chunks */
	uint32_t region_count;
	uint32_t chunk_count;
	uint32_t stripe_chunks;
	uint32_t shard_count;
	bool trust_discard;
	bool verify_clean;
	struct region region[REGIONS_MAX];
	struct stats_block *stats; /* one a shard */
	struct vm_shard *shard;	   /* one a shard */
	struct page_table table;   /* words: owner shards only */
	struct shared key_memory;  /* of the ciphers; there is one without them, too */
	struct shared header;	   /* struct vm_header, for a successor */

	/* the VM's control thread only */
	struct vm_process process[PROCESSES_MAX];
	uint32_t process_count;
	struct recorders *recorders; /* NULL: not recorded */
	/* For what is asked of the shards; made with the VM, so that nothing asked can lack memory.
	 */
	struct cmdq *reply;
	struct command *command; /* DISPATCH_IN_FLIGHT a shard */
	uint32_t *free_command;	 /* stacks of indices of command, one a shard */

	/* any thread, atomics */
	_Atomic uint32_t dwell_ms;
	_Atomic bool is_registered;
	/* Write marks tell which slots are clean: one process only, and a kernel that has them. */
	_Atomic bool has_marks;
	/* Bit a process: its mappings changed since it was added, so its addresses are stale. */
	_Atomic uint32_t moved_processes;
};

/* What @shard copies in. */
struct copy_record *vm_copy_record(const struct vm *vm, uint32_t shard);

static inline uint32_t vm_owner(const struct vm *vm, uint32_t chunk)
{
	return chunk / vm->stripe_chunks % vm->shard_count;
}

const struct region *vm_region_of_chunk(const struct vm *vm, uint32_t chunk);
/* Pages of a chunk: CHUNK_PAGES, or fewer at the end of a region. */
uint32_t vm_chunk_pages(const struct vm *vm, uint32_t chunk);
/* Where a page lies in its memfd, and in the daemon's alias of it. */
uint64_t vm_file_offset(const struct vm *vm, uint64_t page);
uint8_t *vm_alias(const struct vm *vm, uint64_t page);
/*
 * Around an access through the alias: vm_watch() gives the page, vm_is_cut() says afterwards that
 * the VMM has truncated the file before it: what was read is nothing, what was written is gone.
 */
uint8_t *vm_watch(const struct vm *vm, uint64_t page);
bool vm_is_cut(const struct vm *vm, uint64_t page);

/* Whether a chunk may have work for @op, from its summary. Any thread. */
bool vm_chunk_has_work(const struct vm *vm, uint32_t chunk, enum chunk_op op);

#endif
