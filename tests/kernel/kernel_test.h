/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For programs that check one kernel fact each: exit 0 the fact holds, 1 it does not, 77 this host
 * cannot say (the reason is printed). A machine is a small guest: a memfd full of known pages,
 * mapped twice, once registered with userfaultfd (what a VMM has) and once not (the daemon's
 * alias).
 */
#ifndef VMSWAP_TESTS_KERNEL_TEST_H
#define VMSWAP_TESTS_KERNEL_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/guest.h"
#include "io/uffd.h"
#include "queue/base/bits.h"
#include "tests/support/check.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* Longer than any step on a loaded host; only a broken fact waits so long. */
#define TEST_TIMEOUT_MS 20000
#define TEST_TIMEOUT_S	60

_Noreturn static inline void skip(const char *reason)
{
	printf("skipped: %s\n", reason);
	exit(77);
}

struct machine {
	uint32_t pages;
	uint64_t size_bytes;
	int memfd;
	int uffd;
	uint8_t *memory;
	uint8_t *alias;
};

/* What page @page holds from the start: never zero. */
static inline uint8_t content_of(uint32_t page)
{
	return (uint8_t)(page % 250 + 1);
}

static inline uint8_t *page_of(const struct machine *machine, uint32_t page)
{
	return machine->memory + page * PAGE_BYTES;
}

static inline uint64_t address_of(const struct machine *machine, uint32_t page)
{
	return (uintptr_t)page_of(machine, page);
}

static inline void need_features(uint32_t features)
{
	uint32_t offered;

	if (uffd_features(&offered) < 0)
		skip("no userfaultfd with MISSING and MINOR on shmem, or no right to use it");
	if ((offered & features) != features)
		skip("the kernel's userfaultfd lacks a feature of this fact");
}

/* @features also says whether the mapping is registered with WP. */
static inline struct machine machine_new(uint32_t pages, uint32_t features)
{
	struct machine machine = {.pages = pages, .size_bytes = pages * PAGE_BYTES};

	need_features(features);
	(void)alarm(TEST_TIMEOUT_S);
	machine.memfd = memfd_create("kernel-test", MFD_CLOEXEC);
	CHECK(machine.memfd >= 0);
	CHECK(ftruncate(machine.memfd, (off_t)machine.size_bytes) == 0);
	machine.memory = mmap(
		NULL, machine.size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, machine.memfd, 0);
	CHECK(machine.memory != MAP_FAILED);
	CHECK(guest_alias_map(machine.memfd, 0, machine.size_bytes, &machine.alias) == 0);
	for (uint32_t page = 0; page < pages; page++)
		memset(page_of(&machine, page), content_of(page), PAGE_BYTES);
	machine.uffd = uffd_open();
	CHECK(machine.uffd >= 0);
	CHECK(uffd_handshake(machine.uffd, features) == 0);
	CHECK(uffd_register(machine.uffd, address_of(&machine, 0), machine.size_bytes,
		      features & UFFD_WP) == 0);
	return machine;
}

/* The zap: page-table entries go, the page cache keeps its pages. */
static inline void zap(const struct machine *machine, uint32_t page, uint32_t count)
{
	CHECK(madvise(page_of(machine, page), count * PAGE_BYTES, MADV_DONTNEED_LOCKED) == 0);
}

static inline void punch(const struct machine *machine, uint32_t page, uint32_t count)
{
	CHECK(fallocate(machine->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(page * PAGE_BYTES), (off_t)(count * PAGE_BYTES)) == 0);
}

static inline void resolve_copy(const struct machine *machine, uint32_t page, bool with_wp)
{
	static uint8_t source[PAGE_BYTES] __attribute__((aligned(4096)));
	struct uffd_call call;

	memset(source, content_of(page), sizeof(source));
	CHECK(uffd_copy(machine->uffd, &call, address_of(machine, page), source, PAGE_BYTES,
		      with_wp) == 0);
	CHECK(uffd_call_done(&call) == PAGE_BYTES);
}

static inline void resolve_continue(const struct machine *machine, uint32_t page, bool with_wp)
{
	uint64_t done;

	CHECK(uffd_continue(machine->uffd, address_of(machine, page), PAGE_BYTES, with_wp, &done) ==
		0);
	CHECK(done == PAGE_BYTES);
}

#endif
