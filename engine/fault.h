/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault service: reads messages and answers each by the state of its page, not by the type of
 * the message: a MINOR fault can be read for a page that is out by now, a MISSING one for a page
 * that is back, and two for one page are normal.
 *
 *   EMPTY, RESIDENT   map what the page cache has, or a zero page where it has nothing
 *   STAGED, WRITING   as above, with neighbours when the faults are sequential
 *   PUNCHING          wait for the punch
 *   SWAPPED           read the slot (engine/fill.h), with neighbours when sequential
 *   READING           nothing: the read's end serves every waiter; a replay goes on
 *   POISONED          poison it in this process as well
 */
#ifndef VMSWAP_ENGINE_FAULT_H
#define VMSWAP_ENGINE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

struct fault;
struct served;
struct shard;

/* Reads and serves up to a batch of messages. True when there were any. Owner thread. */
bool fault_read_messages(struct shard *shard, struct served *served);
/*
 * Reads ahead along the replays that may go on, after the faults of the turn had their reads. True
 * when there were any. Owner thread.
 */
bool fault_read_ahead(struct shard *shard);
/* Serves one fault: true when done, false when it must be parked. Owner thread. */
bool fault_serve(struct shard *shard, const struct fault *fault);

#endif
