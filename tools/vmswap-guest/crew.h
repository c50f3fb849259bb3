/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Those who work on guest memory: the threads of one process, and what all processes share: the
 * order to stop and the counters.
 */
#ifndef VMSWAP_TOOLS_CREW_H
#define VMSWAP_TOOLS_CREW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tools/vmswap-guest/memory.h"
#include "tools/vmswap-guest/options.h"

/* In memory shared by all processes; any thread. */
struct progress {
	_Atomic bool must_stop;
	_Atomic uint64_t operations; /* pages verified, and rewritten or discarded */
	_Atomic uint64_t discarded_pages;
	_Atomic uint64_t direct_reads;
	_Atomic uint64_t bad_pages;
	_Atomic bool has_failed;	 /* could not do its work: not a question of content */
	_Atomic uint64_t stall_ns;	 /* longest page operation since it was last taken */
	_Atomic uint64_t worst_stall_ns; /* of the whole run */
	pid_t leader;			 /* constant: gets SIGTERM at the first bad page */
};

struct direct_reader;

/* One process. */
struct crew {
	const struct guest_options *options;
	struct guest_memory memory;
	struct progress *progress;
	uint64_t work_pages; /* pages of the ledger; what follows is the direct reader's */
	uint64_t hot_pages;  /* the working set */
	uint32_t index;	     /* of the process */
	struct direct_reader *direct_reader; /* NULL: none */
	uint32_t thread_count;
	pthread_t threads[GUEST_THREADS_MAX + 2];
};

/* A shared mapping, for ever. NULL: no memory. */
struct progress *progress_new(void);
void progress_add_stall(struct progress *progress, uint64_t ns);
/* Prints BAD, counts it and stops everybody. */
void progress_add_bad(struct progress *progress, bool as_json, uint64_t page, const char *what,
	const struct mismatch *mismatch);

/* Starts the threads. -errno. */
int crew_start(struct crew *crew);
/* Waits until the order to stop has been given and they have ended. */
void crew_join(struct crew *crew);

/* Gives every page its first content. */
void crew_fill(struct crew *crew);
/* Verifies every page; those of the direct reader only when @is_idle: all threads have ended. */
uint64_t crew_verify_all(struct crew *crew, bool is_idle);

#endif
