/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crosvm-style swap, written from a description of what it does, with none of its code. The client
 * is stopped, all its memory is copied into a staging area and punched; pages come back one by one:
 *
 *   client ──fault──► monitor (a process)     staging ──► swap file, through the page cache
 *          ◄──COPY───   main thread: epoll, one message a read(), commands, swap-out
 *                       workers: copy to staging, punch the client's memory
 *                       one job at a time: trim or swap-in
 *
 * One mutex covers everything about pages, and is held across COPY and the disk read hidden in it,
 * 2 MiB steps of swap-out and swap-in, and trim's batches.
 *
 * A page that is not in the page cache is read with what lies around it: read_ahead_kb of the disk,
 * 128 on most hosts, much more on some. What is touched next then often comes from the cache. The
 * option "random" tells the kernel not to (crosvm does not), so that each fault reads its page.
 *
 * Left out: what the benchmark's client does not do (several regions and processes, balloons), and
 * mlock of what swap-in has prefetched, which matters when memory is short.
 */
#ifndef VMSWAP_PERF_CONTESTANT_CROSVM_H
#define VMSWAP_PERF_CONTESTANT_CROSVM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "perf/contestant/crosvm_pages.h"
#include "perf/contestant/crosvm_workers.h"
#include "perf/contestant/handler.h"

/* Looked at in one step of trim. */
#define CROSVM_TRIM_PAGES 1024u

#define CROSVM_OPTION_RANDOM "random"

enum crosvm_command {
	CROSVM_ENABLE, /* the client is stopped */
	CROSVM_TRIM,
	CROSVM_SWAP_OUT,
	CROSVM_DISABLE,
};

/* In the benchmark; the monitor has it from there. */
struct crosvm {
	struct handler handler;
	int uffd; /* -1 once the monitor has it */
	int file; /* the swap file, unnamed */
};

struct crosvm_monitor {
	/* Constant after start. */
	const struct contestant *self;
	int uffd;
	int memfd;
	int file;
	bool is_random;	  /* the kernel does not read around */
	uint64_t address; /* of the client's memory, in the client */
	uint64_t size_bytes;
	uint8_t *guest; /* the client's memory, here */
	struct crosvm_workers *workers;
	/* The main thread's, and constant while a job runs. */
	bool is_enabled;
	uint8_t *staging;     /* as large as the client's memory, with holes */
	uint8_t *copies;      /* the swap file, read-only */
	pthread_mutex_t turn; /* see crosvm_lock() */
	pthread_mutex_t lock;
	/* Under the lock. */
	struct crosvm_pages pages;
	uint64_t prefetched_slots; /* swap-in has asked for those below */
};

/*
 * Who waits has the next turn. With a bare mutex a job takes the lock back before the main thread
 * has woken up, and no fault is served until it ends; measured on crosvm, a fault waits for one
 * step.
 */
static inline void crosvm_lock(struct crosvm_monitor *monitor)
{
	(void)pthread_mutex_lock(&monitor->turn);
	(void)pthread_mutex_lock(&monitor->lock);
	(void)pthread_mutex_unlock(&monitor->turn);
}

static inline void crosvm_unlock(struct crosvm_monitor *monitor)
{
	(void)pthread_mutex_unlock(&monitor->lock);
}

/* Parts of the monitor. Those that return pages return -errno as well. */

/* A handler_body. */
void crosvm_monitor_main(const struct contestant *self, int socket);
/* Moves all that is in the client's memory to staging. Main thread, the client stopped. */
int64_t crosvm_enable(struct crosvm_monitor *monitor);
/* After the last swap-in step: lets go of the client's memory and the file. Main thread. */
int crosvm_disable(struct crosvm_monitor *monitor);
/* Serves faults until there are none. Main thread. */
void crosvm_serve(struct crosvm_monitor *monitor);
/* Looks through a batch of pages from @first, drops zero and clean ones; the pages dropped. */
int64_t crosvm_trim_batch(struct crosvm_monitor *monitor, uint64_t first);
/* Writes the next run of staged pages; 0: there is none. */
int64_t crosvm_swap_out_step(struct crosvm_monitor *monitor);
/* Brings the next run of pages back; 0: there is none. */
int64_t crosvm_swap_in_step(struct crosvm_monitor *monitor);

#endif
