/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out when every worker dies: the pages of one VM back into RAM, by one thread, with
 * blocking calls, and with nothing of the engine but its formats (page words, digests, cipher). One
 * thread; no shard and no other worker runs.
 *
 *   rescue_vm_open()      maps what the dead workers left
 *   rescue_vm_chunk()     each chunk that rescue_vm_next_chunk() finds
 *   rescue_vm_release()   all is in: nothing is registered any more, whoever waits goes on
 *   rescue_vm_close()
 *
 * At any instant between these the tables are what engine/adopt.c understands: who dies here can be
 * followed by another rescue, or by a worker.
 */
#ifndef VMSWAP_CTL_RESCUE_RESCUE_VM_H
#define VMSWAP_CTL_RESCUE_RESCUE_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

struct rescue_events;
struct rescue_result;
struct rescue_vm;

struct rescue_vm_config {
	const int *engine_parts; /* ENGINE_PARTS; all descriptors are borrowed */
	const int *vm_parts;	 /* VM_PARTS */
	uint32_t shard_count;
	const struct region_spec *regions;
	uint32_t region_count;
	const struct process_spec *processes; /* those that live */
	uint32_t process_count;
	struct rescue_events *events; /* borrowed */
	bool poisons_unread; /* what the store does not give is lost, and does not stay out */
};

/* -ESTALE: of another layout, or of other regions. -EBADMSG: the tables make no sense. -errno. */
int rescue_vm_open(const struct rescue_vm_config *config, struct rescue_vm **ret_vm);
/* NULL is fine. */
void rescue_vm_close(struct rescue_vm *vm);

/* Pages that are to come in. */
uint64_t rescue_vm_pages_out(const struct rescue_vm *vm);
/* The first chunk at or after @from that a page may be out of. -ENXIO: none. -errno. */
int rescue_vm_next_chunk(const struct rescue_vm *vm, uint32_t from, uint32_t *ret_chunk);
/* Brings its pages in and adds to @result. */
void rescue_vm_chunk(struct rescue_vm *vm, uint32_t chunk, struct rescue_result *result);
/*
 * Pages that are lost become machine checks, then every range of every process is unregistered, and
 * the key is wiped. -EBUSY and nothing changed: a page is out. -EOPNOTSUPP: a page is lost and the
 * kernel cannot tell the guest so (before Linux 6.6); it would read as zeros.
 */
int rescue_vm_release(struct rescue_vm *vm);

#endif
