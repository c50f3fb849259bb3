/* SPDX-License-Identifier: Apache-2.0 */
/* What the fake world consists of. For tests/support/fake_*.c. */
#ifndef VMSWAP_TESTS_FAKE_TYPES_H
#define VMSWAP_TESTS_FAKE_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "io/uffd.h"

#define MEMFDS_MAX  4u
#define THREADS_MAX 96u
#define UFFDS_MAX   64u
#define MAPS_MAX    16u
#define POSTED_MAX  64u
#define DMAS_MAX    16u
#define LATE_MAX    4096u
#define SHARED_MAX  32u

#define PTE_MAPPED     1u
#define PTE_ARMED      2u /* mapped: the write mark; else the marker that a zap left */
#define PTE_POISONED   4u
#define PTE_REGISTERED 8u

/* One page of a memfd, and what an access to it must see. */
struct fake_page {
	bool is_present;
	bool is_hollow;	  /* present, allocated by the VMM, and nobody has come for it yet */
	bool may_be_zero; /* discarded since the last write that the version names */
	uint32_t incarnation;
	uint64_t version; /* 0: zeros */
};

struct fake_memfd {
	uint64_t inode;
	uint64_t pages;
	uint8_t *memory;
	struct fake_page *page;
};

struct fake_pte {
	uint8_t flags;
	uint8_t uffd; /* index, when registered */
};

struct fake_map {
	struct fake_memfd *memfd;
	uint64_t address;
	uint64_t first; /* page of the memfd */
	uint64_t pages;
};

struct fake_process {
	bool is_dead;
	int pidfd;
	uint64_t inode; /* of its pidfd */
	uint32_t map_count;
	struct fake_map map[MAPS_MAX];
	struct fake_pte *pte[MEMFDS_MAX]; /* by page of each memfd */
};

struct fake_uffd {
	uint64_t inode;
	struct fake_process *process;
	uint32_t features;
	bool is_ready; /* handshake done */
	bool has_edge; /* something arrived since the poll last told */
	uint32_t event_count;
	struct uffd_message event[POSTED_MAX]; /* unread, oldest first */
};

/* Where an access goes. */
struct fake_place {
	struct fake_memfd *memfd;
	uint64_t page;
	struct fake_pte *pte;
};

enum thread_kind {
	THREAD_FREE,
	THREAD_RANDOM, /* accesses for ever */
	THREAD_SWEEP,  /* reads every page once, then ends */
	THREAD_ONCE,   /* one access, then ends */
};

struct fake_thread {
	enum thread_kind kind;
	struct fake_process *process;
	bool has_access; /* one is under way, maybe after a wake-up */
	bool is_blocked;
	bool is_read; /* the message was taken */
	bool is_write, is_dma;
	bool is_missing;
	uint8_t uffd;
	uint64_t address;
	uint64_t since; /* tick it began to wait at */
	uint64_t next;	/* page of a sweep, or of a sequential walk */
	uint32_t walk;	/* accesses left of a sequential walk */
};

struct fake_dma {
	bool is_used;
	struct fake_memfd *memfd;
	uint64_t page;
	uint32_t incarnation;
	uint64_t due_ns;
};

struct fake_slot {
	bool is_bad;
	uint32_t failed_reads;
};

/* What a descriptor of the world stands for. */
struct fake_fd {
	uint64_t inode; /* 0: not open */
	uint64_t value; /* of an eventfd, or the offset */
};

/* Memory that outlives a daemon. */
struct fake_shared {
	uint64_t inode;
	void *memory;
	uint64_t size_bytes;
	bool is_state; /* where pages are, not what they hold or when */
};

/* A write that the liar put off. */
struct fake_late {
	const uint8_t *from;
	uint64_t slot;
};

#endif
