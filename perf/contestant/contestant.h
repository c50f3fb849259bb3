/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A contestant serves the faults of one client: the daemon, a peer, or a floor that shows what the
 * kernel allows at best. All are driven by the same calls, so that a benchmark runs any of them
 * beside any other:
 *
 *   open ──► stage ──► (the client touches: staged faults)
 *              └─────► trim, evict ──► (the client touches: faults from disk) or restore
 *   close, from any state
 *
 * Control calls may block; none is made while the client touches, but those a benchmark means to
 * run under load. A call that a contestant does not know is NULL.
 */
#ifndef VMSWAP_PERF_CONTESTANT_CONTESTANT_H
#define VMSWAP_PERF_CONTESTANT_CONTESTANT_H

#include <stdbool.h>
#include <stdint.h>

#include "perf/client/client.h"

#define CONTESTANT_CPUS_MAX 64u

struct contestant_setup {
	struct client_config client;
	/* Where what serves runs: shard i on cpus[i % cpu_count], a single handler on cpus[0]; no
	 * cpus: not pinned. */
	int cpus[CONTESTANT_CPUS_MAX];
	uint32_t cpu_count;
	uint32_t shards;       /* of vmswapd; 0: 1 */
	bool is_encrypted;     /* vmswapd: what it stores */
	const char *directory; /* for swap files; on the disk under test */
	const char *daemon;    /* path of vmswapd */
	const char *option; /* of this contestant only, e.g. the kind of a raw handler; or NULL */
};

struct contestant;

struct contestant_operations {
	const char *name; /* as in the rows: "vmswapd", "raw-continue", … */
	/* The client runs and its memory is filled. Takes over its faults, or gets ready to. */
	int (*open)(struct contestant *self);
	/* Nothing is mapped in the client, everything is in RAM: each first touch is a fault. */
	int (*stage)(struct contestant *self);
	/* After stage: drops zero pages and what need not be written. */
	int (*trim)(struct contestant *self);
	/* After stage: no page in RAM, nor in a cache that would serve it as if from disk. */
	int (*evict)(struct contestant *self);
	/* After evict: all pages in RAM again. */
	int (*restore)(struct contestant *self);
	/* CPU time of all that serves, so far. */
	uint64_t (*cpu_ns)(struct contestant *self);
	/* After any call, also a failed one. Frees ->state. */
	void (*close)(struct contestant *self);
};

struct contestant {
	const struct contestant_operations *operations;
	struct contestant_setup setup;
	struct client *client;
	void *state;	      /* of the contestant */
	uint64_t moved_bytes; /* by the last trim, evict or restore */
	uint64_t moved_ns;    /* time of it that counts: without waiting for dwells or clean-up */
	uint64_t freeze_ns;   /* the last stage kept the client from running this long */
	char why[256];	      /* a sentence, when a call failed */
};

extern const struct contestant_operations contestant_vmswapd;
extern const struct contestant_operations contestant_raw;    /* raw.c: option names the kind */
extern const struct contestant_operations contestant_crosvm; /* or option "random": crosvm.h */
extern const struct contestant_operations contestant_qemu;   /* QEMU-postcopy-style */
extern const struct contestant_operations contestant_kernel; /* minor, zero-fill */
extern const struct contestant_operations contestant_umap;   /* umap.h; option: its path */
extern const struct contestant_operations contestant_swap;   /* swap file, zram-lz4 */

/* The raw handler's name in rows, "raw-" and its option; NULL: there is no such kind. */
const char *contestant_raw_name(const char *option);

/* Starts the client, then opens. On error ->why says what is missing; close all the same. */
int contestant_open(struct contestant *self, const struct contestant_operations *operations,
	const struct contestant_setup *setup);
void contestant_close(struct contestant *self);

/* A failed call: puts a sentence into ->why, returns @error. */
int contestant_fail(struct contestant *self, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* For contestants that are a forked handler: pins the caller to setup.cpus[0], if there is one. */
void contestant_pin_handler(const struct contestant *self);
/* CPU time of process @pid, threads included (ended ones too); 0 when it is gone. */
uint64_t contestant_process_cpu_ns(pid_t pid);

#endif
