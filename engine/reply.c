/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/reply.h"

#include <errno.h>

#include "engine/limits.h"
#include "queue/base/assert.h"
#include "queue/cmdq.h"

void replies_init(struct replies *replies, uint32_t shard_count)
{
	*replies = (struct replies){.capacity = 2};
	while (replies->capacity < shard_count * DISPATCH_IN_FLIGHT)
		replies->capacity *= 2;
	(void)pthread_mutex_init(&replies->lock, NULL);
}

void replies_destroy(struct replies *replies)
{
	ASSERT(replies->idle_count == replies->all_count);
	for (uint32_t i = 0; i < replies->all_count; i++)
		cmdq_free(replies->all[i]);
	replies->all_count = 0;
	replies->idle_count = 0;
	(void)pthread_mutex_destroy(&replies->lock);
}

static int lend_locked(struct replies *replies, struct cmdq **ret_reply)
{
	int error;

	if (replies->idle_count > 0) {
		*ret_reply = replies->idle[--replies->idle_count];
		return 0;
	}
	if (replies->all_count == REPLIES_MAX)
		return -EMFILE;
	error = cmdq_new(1, replies->capacity, ret_reply);
	if (!error)
		replies->all[replies->all_count++] = *ret_reply;
	return error;
}

int replies_lend(struct replies *replies, struct cmdq **ret_reply)
{
	int error;

	(void)pthread_mutex_lock(&replies->lock);
	error = lend_locked(replies, ret_reply);
	(void)pthread_mutex_unlock(&replies->lock);
	return error;
}

void replies_take_back(struct replies *replies, struct cmdq *reply)
{
	if (!reply)
		return;
	ASSERT(cmdq_count(reply, 0) == 0);
	(void)pthread_mutex_lock(&replies->lock);
	ASSERT(replies->idle_count < REPLIES_MAX);
	replies->idle[replies->idle_count++] = reply;
	(void)pthread_mutex_unlock(&replies->lock);
}
