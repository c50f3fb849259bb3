/* SPDX-License-Identifier: Apache-2.0 */
/* What a monitor does to its mappings while its memory is brought back. One thread. */
#ifndef VMSWAP_CTL_RESCUE_EVENTS_H
#define VMSWAP_CTL_RESCUE_EVENTS_H

#include <stdint.h>

#include "engine/child.h"

struct process_spec;

struct rescue_events {
	struct children_home children; /* holds children of a VM that stays held; zeros: nobody */
	uint32_t next_child;	       /* greater than the numbers of all before */
};

/*
 * Reads what waits at the process's userfaultfd of @shard, or pauses: a monitor that unmaps, moves
 * or forks waits until that is read, and so does every copy. Descriptors of forked children stay
 * open until we end, so that these do not read zeros until their memory is in.
 */
void rescue_events_take(
	struct rescue_events *events, const struct process_spec *process, uint32_t shard);
/*
 * Once nothing of the processes is registered any more, so that nothing new comes: reads until a
 * while after the last message. Copies in a monitor may keep a descriptor open that nobody reads,
 * and whoever unmapped a range of several shards has a message for each, one after the other.
 */
void rescue_events_drain(struct rescue_events *events, const struct process_spec *processes,
	uint32_t process_count, uint32_t shard_count);

#endif
