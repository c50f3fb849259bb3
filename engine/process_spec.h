/* SPDX-License-Identifier: Apache-2.0 */
/* A process that comes to a VM, as control describes it to the engine. */
#ifndef VMSWAP_ENGINE_PROCESS_SPEC_H
#define VMSWAP_ENGINE_PROCESS_SPEC_H

#include <stdint.h>

/* Where a process maps a part of a region. */
struct process_run {
	uint32_t region;
	uint64_t offset; /* from the region's beginning; bytes */
	uint64_t address;
	uint64_t size_bytes;
};

/* A process that maps the VM's memory. */
struct process_spec {
	int pid;
	int pidfd;		 /* dup'ed */
	const uint64_t *address; /* of each region in this process; 0: not mapped there */
	const int *uffds; /* one a shard, made in this process, no handshake yet; ownership moves */
	uint64_t tag;	  /* told of its children */
	/* For vm_process_adopt(), of one that has moved or unmapped memory since it was added: all
	 * that is mapped still, no page twice. NULL: everything lies at @address. */
	const struct process_run *runs;
	uint32_t run_count;
};

#endif
