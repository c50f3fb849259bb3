/* SPDX-License-Identifier: Apache-2.0 */
/* Small processes for the attach tests to act on, and what can be seen of them from outside. */
#ifndef VMSWAP_TESTS_E2E_ATTACH_TARGET_H
#define VMSWAP_TESTS_E2E_ATTACH_TARGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "tests/support/check.h"

/*
 * The sanitizers map terabytes of private memory, and ThreadSanitizer has a thread of its own in
 * each process, which is the one that gets chosen: tests that count on either are left out then.
 */
#ifdef __SANITIZE_THREAD__
#define ATTACH_HAS_OWN_THREAD 1
#define ATTACH_HAS_OWN_MEMORY 1
#elif defined(__SANITIZE_ADDRESS__)
#define ATTACH_HAS_OWN_THREAD 0
#define ATTACH_HAS_OWN_MEMORY 1
#else
#define ATTACH_HAS_OWN_THREAD 0
#define ATTACH_HAS_OWN_MEMORY 0
#endif

/* Shared between the test and its target. */
struct attach_shared {
	_Atomic bool is_ready; /* the target says: go on */
	_Atomic bool go;       /* the test says: go on */
	_Atomic bool is_done;  /* the target has written its results */
	int descriptors[2];    /* a pipe that both have */
	int64_t result;
	int error;
	uint64_t elapsed_ms;
	uint64_t value;
	bool is_mask_kept;
	uint64_t address; /* of the target's guest memory */
	int memfd;	  /* its number there */
};

struct attach_target {
	pid_t pid;
	struct attach_shared *shared;
};

typedef void attach_body(struct attach_shared *shared);

/* What the test and a target share; nothing is forked yet. */
struct attach_target attach_prepare(void);
/* Forks a process that runs @body and ends; it dies with the test. */
struct attach_target attach_start(attach_body *body);
/* SIGKILL and reap. */
void attach_stop(struct attach_target *target);
/* Reaps; the wait status. Fails the test after 20 s. */
int attach_wait(struct attach_target *target);

/* Each fails the test after 20 s. */
void attach_await(const _Atomic bool *flag);
/* The main thread sleeps in system call @number. */
void attach_await_syscall(pid_t pid, long number);
void attach_await_state(pid_t pid, char state);

char attach_state(pid_t pid);
uint32_t attach_count(pid_t pid, const char *directory);
/* SigBlk of the main thread. */
uint64_t attach_blocked(pid_t pid);

/* Once in each process that injects, with the rights that it has then. */
void attach_start_injector(void);

struct inject_zapped;
struct injection;
struct problem;

/* inject_begin() and inject_zap() of the process that has the number now. */
int attach_try(pid_t pid, struct injection **ret_injection, struct problem *problem);
int attach_zap(pid_t pid, uint64_t address, uint64_t size_bytes, struct inject_zapped *ret_zapped);
/* An injection into the target, begun. */
struct injection *attach_begin(pid_t pid);
/* Injects getppid(2): the target's parent is the test, a result that cannot be right by chance. */
void attach_inject_getppid(pid_t pid);
/* A body that waits in read(2) for a byte of the pipe, and ends. */
void attach_wait_body(struct attach_shared *shared);

/* In the target: guest memory of @size_bytes in a memfd, every page written with attach_word(). */
uint8_t *attach_guest(struct attach_shared *shared, uint64_t size_bytes);
uint64_t attach_word(uint64_t page);
bool attach_guest_is_right(const uint8_t *memory, uint64_t size_bytes);
/* Pages of [address, address + size) that are mapped there. */
uint64_t attach_present(pid_t pid, uint64_t address, uint64_t size_bytes);

#endif
