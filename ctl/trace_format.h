/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that debug.record_stop writes and perf/client/trace.h reads. Native byte order, which is
 * little-endian (x86-64):
 *
 *   0     struct trace_header
 *   64    struct trace_entry, as many as the header says, by time; nothing follows
 */
#ifndef VMSWAP_CTL_TRACE_FORMAT_H
#define VMSWAP_CTL_TRACE_FORMAT_H

#include <stdint.h>

#define TRACE_MAGIC	  "vmswaptr" /* 8 bytes, no end of string */
#define TRACE_MAGIC_BYTES 8
#define TRACE_VERSION	  1u

struct trace_header {
	char magic[TRACE_MAGIC_BYTES];
	uint32_t version;
	uint32_t page_size;
	uint64_t pages;	  /* of the VM; fits 32 bits */
	uint64_t entries; /* in the file */
	uint64_t dropped; /* did not fit into the recording: entries of any time are missing */
	uint64_t zero[3];
};
_Static_assert(sizeof(struct trace_header) == 64, "the entries begin at 64");

enum trace_kind {
	TRACE_STAGED, /* the page was in RAM */
	TRACE_FILE,   /* it was read from the swap store */
	TRACE_ZERO,   /* it held nothing */
	TRACE_KINDS,
};

/* A fault that was served. */
struct trace_entry {
	uint64_t time_ns; /* from the start of the recording; never less than in the entry before */
	uint32_t page;	  /* below trace_header.pages: regions follow each other without gaps */
	uint8_t kind;	  /* enum trace_kind */
	uint8_t is_write; /* 0 or 1 */
	uint16_t zero;
};
_Static_assert(sizeof(struct trace_entry) == 16, "no padding");

#endif
