/* SPDX-License-Identifier: Apache-2.0 */
/* What vm.attach and vm.attach_self may be asked for. */
#ifndef VMSWAP_CTL_ATTACH_OPTIONS_H
#define VMSWAP_CTL_ATTACH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/target.h"
#include "engine/limits.h"

enum zap_way {
	ZAP_AUTO,    /* inject, page out where that is not allowed */
	ZAP_INJECT,  /* madvise(DONTNEED_LOCKED) run inside the process */
	ZAP_PAGEOUT, /* process_madvise(PAGEOUT) from outside */
	ZAP_CHANNEL, /* the client library's helper thread; shown, never asked for */
	ZAP_WAY_COUNT,
};

#define DWELL_AUTO UINT32_MAX

/* Guest memory that a VMM handed over itself. */
struct given_region {
	int memfd;
	uint64_t file_offset;
	uint64_t size_bytes;
	uint64_t address;
};

struct attach_options {
	struct target_options target;
	bool all_mappers;
	bool trust_discard;
	bool verify_clean;
	enum zap_way zap;
	uint32_t dwell_ms;	 /* or DWELL_AUTO */
	uint32_t wait_memory_ms; /* prepared: how long the memory may take to appear */
	/* Descriptors that came with the request; closed with the job unless taken (then -1). */
	int uffds[SHARDS_MAX]; /* made in pids[0], one a shard: nothing is injected there */
	uint32_t uffd_count;
	int channel;				  /* to the client library's helper thread, or -1 */
	struct given_region regions[REGIONS_MAX]; /* with a channel: the memory, from pids[0] */
	uint32_t region_count;
};

/* NULL: no memory. Nothing but the defaults. */
struct attach_options *attach_options_new(void);
/* Closes the descriptors that nobody took. NULL is fine. */
void attach_options_free(struct attach_options *options);

#endif
