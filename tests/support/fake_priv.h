/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the fake world, for tests/support/fake_*.c. */
#ifndef VMSWAP_TESTS_FAKE_PRIV_H
#define VMSWAP_TESTS_FAKE_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "tests/support/fake_io.h"
#include "tests/support/fake_types.h"

struct world {
	struct fake_config config;
	uint64_t random;
	uint64_t now_ns;
	uint64_t tick, progress_tick;
	uint64_t operations, accesses, versions, poisons;
	bool is_running; /* inside a scheduling point */
	bool is_paused;
	uint32_t memfd_count, process_count, uffd_count, shared_count;
	uint64_t inodes;
	struct fake_memfd memfd[MEMFDS_MAX];
	struct fake_process process[FAKE_PROCESSES_MAX];
	struct fake_thread thread[THREADS_MAX];
	struct fake_dma dma[DMAS_MAX];
	uint64_t disk_inode;
	uint8_t *disk;
	uint64_t disk_slots;
	struct fake_slot *slot;
	struct fake_shared shared[SHARED_MAX];
	uint32_t late_count;
	/* From here on a copy of the world takes only what is in use. */
	struct fake_uffd uffd[UFFDS_MAX];
	struct fake_late late[LATE_MAX];
};

extern struct world world;

/* fake_world.c */
bool fake_one_in(uint32_t chance);
/* Counts one operation that may fail; true: this one does, in the way *@ret_how of @ways. */
bool fake_fails(enum fake_failure kind, uint32_t ways, uint32_t *ret_how);
/* A scheduling point: time passes, guests run. */
void fake_schedule(void);

/* fake_fd.c */
uint64_t fake_inode(int fd);
/* A descriptor with an inode of its own. */
int fake_descriptor(void);
uint64_t *fake_fd_value(int fd);
/* All that are open; the number of places in use. */
struct fake_fd *fake_fds(uint32_t *ret_count);
void fake_fds_forget(void);

/* fake_memory.c */
struct fake_memfd *fake_memfd_of(int fd);
const uint8_t *fake_content(const struct fake_memfd *memfd, uint64_t page);
/* For writing. */
uint8_t *fake_change(const struct fake_memfd *memfd, uint64_t page);
/* False: nothing of the process's is there. */
bool fake_find(const struct fake_process *process, uint64_t address, struct fake_place *ret_place);
/* The page leaves the page cache and every page table. */
void fake_drop(struct fake_memfd *memfd, uint64_t page);

/* fake_disk.c */
/* PAGE_BYTES, for writing. */
uint8_t *fake_change_slot(uint64_t slot);
void fake_shared_free(void);

/* fake_snapshot.c: a page of content is about to change. */
void fake_keep(uint8_t *page);

/* fake_thread.c */
void fake_thread_step(void);
void fake_check_waiting(void);
/* The content of a page, against the model. */
void fake_check_page(struct fake_memfd *memfd, uint64_t page, const char *who);
void fake_dma_step(void);
void fake_forget_dma(const struct fake_memfd *memfd, uint64_t page);

/* fake_uffd.c */
struct fake_uffd *fake_uffd_of(int fd);
uint8_t fake_uffd_index(const struct fake_uffd *uffd);
void fake_wake_range(const struct fake_process *process, uint64_t address, uint64_t end);
bool fake_is_readable(const struct fake_uffd *uffd);
void fake_post(struct fake_uffd *uffd, const struct uffd_message *message);

#endif
