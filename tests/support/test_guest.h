/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for tests of the engine without a daemon: a child process whose memory is a shared memfd,
 * with threads that rewrite and verify checksummed pages for as long as it lives, and a thread that
 * zaps on request. What a page must hold is kept in private memory, so a stale page is told from a
 * right one.
 */
#ifndef VMSWAP_TESTS_TEST_GUEST_H
#define VMSWAP_TESTS_TEST_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/limits.h"

struct test_guest_config {
	uint64_t pages;
	uint32_t threads;	  /* 0: it acts on request only */
	uint32_t descriptors;	  /* userfaultfds to make: one a shard */
	uint32_t write_percent;	  /* of page visits */
	uint32_t working_percent; /* visits stay in this part of the memory; the rest is only
				     verified at the end */
	uint32_t zero_percent;	  /* of pages are left all zero */
	bool is_sequential;	  /* visits walk upwards instead of jumping */
};

struct test_guest {
	int pid;
	int pidfd;
	int memfd;
	uint64_t address;
	uint64_t pages;
	int uffds[SHARDS_MAX]; /* for vm_process_add(), which owns them then */
	int socket;
};

struct test_guest_report {
	uint64_t visits;
	uint64_t bad;	     /* pages that did not hold what they must */
	uint64_t longest_ns; /* longest page visit */
};

/* Exits 77 where userfaultfd cannot be had, 1 on any other failure. */
void test_guest_start(const struct test_guest_config *config, struct test_guest *ret_guest);
/* madvise(DONTNEED_LOCKED) in the guest; exits 1 when it fails. */
void test_guest_zap(const struct test_guest *guest, uint64_t address, uint64_t size_bytes);
/* Things a VMM may do to its memory, each answered when it is done; only with threads = 0. */
enum test_guest_act {
	TEST_GUEST_VERIFY,  /* every page must hold what it must */
	TEST_GUEST_REWRITE, /* every page gets new content */
	TEST_GUEST_FORK,    /* a child verifies every page and ends */
	TEST_GUEST_REMOVE,  /* madvise(MADV_REMOVE): the range reads as zeros from now on */
	TEST_GUEST_PUNCH,   /* fallocate(PUNCH_HOLE): likewise, unseen by userfaultfd */
	TEST_GUEST_FORGET,  /* as after a punch of pages that were out: old content is right too */
	TEST_GUEST_MOVE,    /* mremap() of the range to another address */
	TEST_GUEST_UNMAP,   /* munmap(); the range is not verified any more */
};

void test_guest_do(
	const struct test_guest *guest, enum test_guest_act act, uint64_t page, uint64_t count);
/* What its threads have seen up to now. Exits 1 when it does not answer in time: silence is a
 * failure. */
void test_guest_ask(const struct test_guest *guest, struct test_guest_report *ret_report);
/* As above; false when it is dead. */
bool test_guest_try_ask(const struct test_guest *guest, struct test_guest_report *ret_report);
/* Stops the threads, verifies every page, ends the process. */
void test_guest_stop(struct test_guest *guest, struct test_guest_report *ret_report);
/* SIGKILL. */
void test_guest_kill(struct test_guest *guest);

#endif
