/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client: a process of its own whose memory a contestant serves. It stands for a VMM: it fills
 * its pages with content it can recognise, and touches them when told, with as many threads as
 * asked, measuring each touch and checking what it found.
 *
 *   parent (vmswap-bench)  ──command──►  child ── threads that touch
 *                          ◄─result───     one idle thread that takes commands
 *
 * All calls block until the child has done what was asked, but client_touch_begin(). One caller at
 * a time for one client. Errors are -errno; a child that died is -EPIPE.
 */
#ifndef VMSWAP_PERF_CLIENT_CLIENT_H
#define VMSWAP_PERF_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CLIENT_THREADS_MAX 128u
/*
 * Touches of one order, and touches measured in one go; more are made, and not measured. Each array
 * of that many stays below 64 MiB, so that a daemon that looks for guest memory passes it by.
 */
#define CLIENT_SAMPLES_MAX (4u << 20)
#define CLIENT_ANY_CPU	   (-1)
#define CLIENT_STALL_US	   5u

enum client_content {
	CLIENT_RANDOM, /* incompressible */
	CLIENT_TEXT,   /* lz4 halves it: what zram meets in a guest */
};

struct client_config {
	uint64_t pages;
	bool is_anonymous;     /* private memory (for kernel peers), else a memfd mapped shared */
	uint32_t zero_percent; /* scattered pages that are in RAM and all zero */
	uint64_t fill_stride;  /* only every so-manieth page is filled and may be touched; 0: all */
	enum client_content content;
	/*
	 * NULL, or: called in the child instead of mapping and filling, to get memory of
	 * @size_bytes that holds the content already. -errno. There is no memfd then.
	 */
	int (*map)(const void *argument, uint64_t size_bytes, void **ret_memory);
	const void *map_argument;
};

struct client;

/* Forks, maps, fills. @ret_client is freed by client_stop(). */
int client_start(const struct client_config *config, struct client **ret_client);
/* Kills the child. NULL is fine. */
void client_stop(struct client *client);

pid_t client_pid(const struct client *client);
/* The parent's own descriptor; -1: anonymous memory, or from config.map. */
int client_memfd(const struct client *client);
uint64_t client_address(const struct client *client); /* in the child */
uint64_t client_pages(const struct client *client);

struct touch {
	const uint32_t *order; /* page numbers; dealt to the threads in equal consecutive parts */
	uint64_t count;
	uint32_t threads; /* 1…CLIENT_THREADS_MAX */
	int cpu;	  /* where the threads are pinned, or CLIENT_ANY_CPU */
	bool is_write;	  /* writes the page's first word (the content stays recognisable) */
	bool is_endless;  /* goes through the order again and again until client_touch_end() */
	/*
	 * A sample is the time since the thread's touch before, whatever took it: a fault, a stop,
	 * a lock. Those of CLIENT_STALL_US or more are kept. begin_us is when the stall began.
	 */
	bool is_watch;
	uint32_t pace_us; /* endless: a thread waits so long between touches; 0: does not wait */
};

struct touch_result {
	uint64_t elapsed_ns; /* first touch to last */
	uint64_t cpu_ns;     /* of the child meanwhile */
	uint64_t touches;
	uint64_t bad_pages; /* content was not what it should be: whoever served it is broken */
	/*
	 * Latency of touch i, and when it began (us after the first), i < samples; in the
	 * order they were dealt: thread by thread. The client's memory: valid until its next touch.
	 */
	uint32_t *latency_ns;
	const uint32_t *begin_us;
	uint64_t samples;
};

/* Endless touches: every thread has made its first when it returns. */
int client_touch_begin(struct client *client, const struct touch *touch);
/* Waits for the touches to end; endless ones are told to. */
int client_touch_end(struct client *client, struct touch_result *ret_result);
/* Begin and end. */
int client_touch(struct client *client, const struct touch *touch, struct touch_result *ret_result);

/* Writes every page again, so that all are dirty, in RAM and mapped. */
int client_dirty(struct client *client);
/* Drops all memory and fills it again: then it is charged to the child's cgroup of now. */
int client_refill(struct client *client);
/* madvise(@advice) by the child on all its memory. */
int client_advise(struct client *client, int advice);
/* Pages in RAM: mapped or not, the swap cache too. */
int client_resident(struct client *client, uint64_t *ret_pages);
/*
 * Makes a non-blocking userfaultfd (or, with @is_blocking, a blocking one) in the child, registers
 * all its memory with @mode (UFFDIO_REGISTER_MODE_…, 0: registers nothing) and hands it over.
 */
int client_userfaultfd(
	struct client *client, uint64_t features, uint64_t mode, bool is_blocking, int *ret_fd);

#endif
