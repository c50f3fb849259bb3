/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reply queues for control threads that wait for shards. A shard wakes the sleeper after it has
 * pushed an answer, so it may still touch the queue when the answer has long been taken: a queue is
 * lent and taken back, and freed only when the shards have ended. A late wake-up on a queue that
 * was lent again is spurious and harmless.
 */
#ifndef VMSWAP_ENGINE_REPLY_H
#define VMSWAP_ENGINE_REPLY_H

#include <pthread.h>
#include <stdint.h>

struct cmdq;

/* Queues that can be lent at the same time: a control thread a VM, and some. */
#define REPLIES_MAX 512u

struct replies {
	uint32_t capacity; /* of a queue: every command one dispatch has under way */
	pthread_mutex_t lock;
	struct cmdq *all[REPLIES_MAX];
	struct cmdq *idle[REPLIES_MAX];
	uint32_t all_count;
	uint32_t idle_count;
};

/* For @shard_count shards. Control threads, as all of these. */
void replies_init(struct replies *replies, uint32_t shard_count);
/* Nothing is lent and every shard has ended. */
void replies_destroy(struct replies *replies);
/* An empty queue of one lane. -ENOMEM, -errno, -EMFILE: REPLIES_MAX are lent. */
int replies_lend(struct replies *replies, struct cmdq **ret_reply);
/* Back, empty. NULL is fine. */
void replies_take_back(struct replies *replies, struct cmdq *reply);

#endif
