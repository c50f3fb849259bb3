/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world below the engine: another implementation of io/uring.h, uffd.h, guest.h, swapfile.h and
 * shared.h, in one thread, deterministic for a seed. It has memfds, processes with page tables,
 * userfaultfds, a disk, a clock, and guest threads that touch memory whenever the engine calls down
 * (a scheduling point), so that faults meet every state of the engine.
 *
 *   test ──► engine ──► fake uring, uffd, guest, swapfile ──► fake_schedule(): guests run a little
 *
 * What every guest access must see is kept in a model a page: the version last written, or zeros as
 * well after a discard. The first access that sees something else ends the program with exit code
 * 1, the seed and what happened; so does a guest thread that is never served.
 *
 * Simplification: the alias is plain memory. A page we punch is scrambled, so that whoever reads it
 * afterwards finds neither zeros nor the content; one that the VMM punched reads as zeros.
 */
#ifndef VMSWAP_TESTS_FAKE_IO_H
#define VMSWAP_TESTS_FAKE_IO_H

#include <stdbool.h>
#include <stdint.h>

/* Kinds of operations that may fail. */
enum fake_failure {
	FAKE_READ,    /* EIO, short, or wrong content this once */
	FAKE_WRITE,   /* EIO, ENOSPC, short */
	FAKE_PUNCH,   /* EIO without effect, zeroed in place as a held huge folio */
	FAKE_RESOLVE, /* EAGAIN, ENOMEM, part of the range done */
	FAKE_SEEK,    /* EIO of guest_next_data(), EAGAIN of guest_cached() */
	FAKE_ROT,     /* a write that says all is well and is not */
	FAKE_FAILURES,
};

/* A world that behaves as if the engine broke a rule: what the checker must find out. */
enum fake_lie {
	FAKE_HONEST,
	FAKE_WRITES_LATE, /* writes end before their content was taken from memory */
	FAKE_WAKES_NONE,  /* wake-ups and those of resolving calls are lost now and then */
};

struct fake_config {
	uint64_t seed;
	uint32_t features; /* enum uffd_feature */
	uint64_t disk_bytes;
	uint32_t guest_rate; /* accesses at one scheduling point, at most */
	uint32_t delay;	     /* chance of an operation in flight to go on: one in so many */
	/* One in so many; 0: none. */
	uint32_t failure_in[FAKE_FAILURES];
	uint32_t failure_way[FAKE_FAILURES]; /* from 1; 0: by chance */
	uint32_t discard_in;		     /* accesses that are a punch by the VMM instead */
	uint32_t allocate_in; /* accesses that are a fallocate() by the VMM instead */
	uint32_t dma_in;      /* writes that are DMA, which lands within dma_ns */
	uint64_t dma_ns;
	/* Operation number fail_at (from 1) fails, in the way fail_how (modulo the ways). */
	uint64_t fail_at;
	uint32_t fail_how;
	/* A process dies with that operation; 0: none. */
	uint64_t kill_at;
	uint32_t kill_process;
	bool disk_is_full;
	/* Set when that scheduling point is reached; 0: never. */
	uint64_t abort_tick;
	_Atomic bool *abort;
	/* One turn of the engine, for a VMM that waits until its event is read. */
	void (*turn)(void *argument);
	/* Now and then at the beginning of a turn, when no table is half changed. */
	void (*check)(void *argument);
	void *sim;
	enum fake_lie lie;
	/* Called at each crash point; at the one so many from now (0: never), without return. */
	void (*point)(void *sim), (*crash)(void *sim);
	uint64_t crash_in;
};

/* One world at a time. */
void fake_begin(const struct fake_config *config);
void fake_end(void);
/* Of the running world; may be changed at any time. */
struct fake_config *fake_config(void);

uint64_t fake_random(uint64_t below);
/* Prints the seed and the message, exits with 1. */
_Noreturn void fake_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Control goes on: the watchdog starts again. */
void fake_progress(void);
/* @count scheduling points; guests run. */
void fake_run(uint32_t count);
/* Time passes without anybody doing anything. */
void fake_pass(uint64_t ns);
uint64_t fake_tick(void);
uint64_t fake_operations(void); /* that might have failed, so far */
uint64_t fake_accesses(void);	/* of guests, so far */

/* A memfd of @pages; its descriptor is the caller's to close. */
int fake_memfd(uint64_t pages);

#define FAKE_PROCESSES_MAX 6u
#define FAKE_SHARDS_MAX	   8u

/* A process; its index. */
uint32_t fake_process(void);
int fake_process_pid(uint32_t process);
/* The one stays the world's, the other is the caller's to close. */
int fake_process_pidfd(uint32_t process);
int fake_uffd(uint32_t process);
void fake_map(uint32_t process, int memfd, uint64_t address);
void fake_kill(uint32_t process);
bool fake_is_dead(uint32_t process);
/* Threads that access memory of @process for ever. */
void fake_threads(uint32_t process, uint32_t count);
/* Guests begin no new access while paused; those that wait go on waiting. */
void fake_pause(bool is_paused);
uint32_t fake_blocked(void);
/* A thread of @process begins to read every page once. Done: fake_sweeps() is 0. */
void fake_sweep(uint32_t process);
uint32_t fake_sweeps(void);
/* Every waiter is woken for no reason: it faults again. */
void fake_wake_all(void);
/* One access by a thread of its own, which may wait: true when it is over at once. A write makes
 * the page differ from zeros and from what it was. */
bool fake_touch(uint32_t process, uint64_t address, bool is_write);

/* What a VMM does. The zap, madvise(DONTNEED_LOCKED): guests run in between. */
void fake_zap(uint32_t process, uint64_t address, uint64_t size_bytes);
/* Pages whose write mark stands, mapped or not: what a scan before the zap would take for clean. */
void fake_scan_unwritten(uint32_t process, uint64_t address, uint32_t pages, uint64_t *ret_bits);
/* fallocate(PUNCH_HOLE) by the VMM; a look of who is not attached at what is out: zeros. */
void fake_discard(int memfd, uint64_t page);
void fake_stranger(int memfd, uint64_t page);
/* madvise(MADV_REMOVE): with its event first, where asked for. */
void fake_remove(uint32_t process, uint64_t address, uint64_t size_bytes);
void fake_unmap(uint32_t process, uint64_t address, uint64_t size_bytes);
void fake_move(uint32_t process, uint64_t address, uint64_t size_bytes, uint64_t to);
/* The child, mapped and registered as its parent is. */
uint32_t fake_fork(uint32_t process);

/* Every page in RAM or zero, seen in the memfds, must be right: nothing may be out. */
void fake_verify(void);
bool fake_is_present(int memfd, uint64_t page);
bool fake_is_registered(uint32_t process, uint64_t address);
bool fake_is_poisoned(uint32_t process, uint64_t address);
uint64_t fake_poisoned(void);
/* Whether the disk gives the engine a reason to call this slot lost. */
bool fake_slot_is_lost(uint32_t slot);
/* What a slot holds, PAGE_BYTES. */
const uint8_t *fake_slot(uint32_t slot);
/* The content of a slot goes bad. */
void fake_rot(uint32_t slot);

#endif
