/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces: the order in which a real guest touched its pages, recorded by vmswapd (the methods
 * debug.record_*) or by tools/record-trace; perf/traces/ has two. The file is described in
 * ctl/trace_format.h.
 */
#ifndef VMSWAP_PERF_CLIENT_TRACE_H
#define VMSWAP_PERF_CLIENT_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/trace_format.h"

/* Entries of a file that is read: four recordings of the daemon's bound. */
#define TRACE_ENTRIES_MAX (16u << 20)

/* The first touch of each page, by time. */
struct trace {
	uint64_t vm_pages; /* of the recorded VM; every page is below */
	uint64_t entries;  /* in the file: later touches of the same pages included */
	uint64_t dropped;  /* touches that are missing */
	uint32_t count;	   /* first touches */
	uint32_t *page;	   /* count */
	uint64_t *time_ns; /* count; from the start of the recording */
	uint8_t *is_write; /* count; 0 or 1 */
	uint64_t kind_count[TRACE_KINDS]; /* of the first touches, by enum trace_kind */
};

/*
 * Reads a trace, which is not trusted. -EINVAL and a sentence in ret_why when it is none; -errno
 * (with ret_why, too) when it cannot be read. ret_trace is freed with trace_free().
 */
int trace_load(const char *path, struct trace *ret_trace, const char **ret_why);
void trace_free(struct trace *trace);

enum trace_numbering {
	TRACE_AS_RECORDED, /* gaps between pages are as they were in the VM */
	TRACE_DENSE, /* pages that were never touched are left out; neighbours stay in order */
};

/*
 * The order for a client of @pages pages: touches of pages that it does not have are left out.
 * ret_order is malloc'ed; ret_count may be 0. -ENOMEM.
 */
int trace_first_touches(const struct trace *trace, enum trace_numbering numbering, uint64_t pages,
	uint32_t **ret_order, uint64_t *ret_count);

#endif
