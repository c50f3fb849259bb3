/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command queue: one lane a shard, any number of producers a lane. Commands are addressed to
 * the shard that owns the chunk, because only the owner may change a page's state; a shared queue
 * would make every shard take, inspect and pass on most items (measured: queue/README.md).
 * Completions travel in a command queue of one lane, the other way.
 *
 * Items are pointers to commands that the sender owns, and owns again when they come back.
 */
#ifndef VMSWAP_QUEUE_CMDQ_H
#define VMSWAP_QUEUE_CMDQ_H

#include <stdbool.h>
#include <stdint.h>

struct cmdq;
struct wake;

/* @lane_capacity: power of two. -ENOMEM, or -errno of eventfd(2). */
int cmdq_new(uint32_t lane_count, uint32_t lane_capacity, struct cmdq **ret_cmdq);
void cmdq_free(struct cmdq *cmdq);

/* Wakes the lane's sleeper. False when the lane is full: back-pressure. Any thread. */
bool cmdq_push_mpmc(struct cmdq *cmdq, uint32_t lane, void *command);
/* NULL when empty. Any thread. */
void *cmdq_pop_mpmc(struct cmdq *cmdq, uint32_t lane);
uint32_t cmdq_count(const struct cmdq *cmdq, uint32_t lane);
/* The lane's sleeper side; see queue/wake.h. */
struct wake *cmdq_wake(struct cmdq *cmdq, uint32_t lane);

/*
 * Blocks until the lane has an item or @timeout_ms (-1: for ever) has passed; NULL then. For
 * control threads: the single sleeper of @lane.
 */
void *cmdq_wait(struct cmdq *cmdq, uint32_t lane, int timeout_ms);

#endif
