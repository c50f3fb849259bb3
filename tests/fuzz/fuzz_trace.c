/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace files: the input is one. What loads has its entries below the VM's size and each page once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "perf/client/trace.h"
#include "queue/base/assert.h"

/* Of a client that has fewer pages than most VMs. */
#define CLIENT_PAGES 512u

static void check(const struct trace *trace)
{
	uint64_t kinds = 0;

	ASSERT(trace->count <= trace->entries);
	for (uint32_t i = 0; i < trace->count; i++) {
		ASSERT(trace->page[i] < trace->vm_pages);
		ASSERT(trace->is_write[i] <= 1);
		ASSERT(i == 0 || trace->time_ns[i] >= trace->time_ns[i - 1]);
	}
	for (uint32_t i = 0; i < TRACE_KINDS; i++)
		kinds += trace->kind_count[i];
	ASSERT(kinds == trace->count);
}

static void check_order(const struct trace *trace, enum trace_numbering numbering)
{
	uint32_t *order = NULL;
	uint64_t count = 0;
	int rc = trace_first_touches(trace, numbering, CLIENT_PAGES, &order, &count);

	ASSERT(rc == 0);
	ASSERT(count <= CLIENT_PAGES);
	for (uint64_t i = 0; i < count; i++)
		ASSERT(order[i] < CLIENT_PAGES);
	free(order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[64];
	static int file = -1;
	struct trace trace;
	const char *why = NULL;

	if (file < 0) {
		file = memfd_create("trace", MFD_CLOEXEC);
		ASSERT(file >= 0);
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	/* A memfd takes what is written, but for want of memory. */
	if (ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size)
		return 0;
	if (trace_load(path, &trace, &why) < 0) {
		ASSERT(why != NULL);
		return 0;
	}
	check(&trace);
	check_order(&trace, TRACE_AS_RECORDED);
	check_order(&trace, TRACE_DENSE);
	trace_free(&trace);
	return 0;
}
