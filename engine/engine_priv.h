/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's inside, for the engine's own files and its tests. */
#ifndef VMSWAP_ENGINE_ENGINE_PRIV_H
#define VMSWAP_ENGINE_ENGINE_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/content.h"
#include "engine/engine.h"
#include "engine/reply.h"
#include "engine/shard.h"
#include "engine/successor.h"
#include "io/shared.h"
#include "io/swapfile.h"

struct cmdq;
struct command;
struct ring;

/* Events under way to the control thread; more are counted as lost. */
#define EVENTS_MAX 256u

struct engine {
	/* constant after start */
	uint32_t shard_count;
	uint32_t features;
	uint64_t spin_ns;
	/* No threads: waiting control calls run the shards' turns themselves (tests). */
	bool is_stepped;
	bool is_encrypted; /* what VMs store */
	bool is_plain;	   /* faults bring their own pages only */
	bool has_threads;
	struct children_home children;
	bool is_pinned;
	int cpus[SHARDS_MAX]; /* of the shards, when pinned */
	struct digest_secret secret;
	struct swapfile store;
	struct shared slot_map;
	struct shared header;
	struct cmdq *cmdq;   /* a lane a shard */
	struct cmdq *events; /* one lane: shards → control */
	struct ring *events_free;
	struct engine_event *event; /* EVENTS_MAX */
	struct shard *shard;

	/* What engine_resume() was given: for shards that begin. */
	struct vm *const *adopted;
	uint32_t adopted_count;
	/*
	 * A bitmap of slots in use that no page has (adopt.h); NULL where there is none. Written
	 * before the shards start, then by each shard that begins, of its own groups; from then on
	 * engine_settle()'s.
	 */
	uint64_t *limbo;
	_Atomic uint32_t limbo_count;

	/* control threads */
	pthread_mutex_t space_lock; /* one engine_release_space() at a time */
	struct cmdq *reply;	    /* of who holds the lock, and of the end */
	struct replies replies;
};

/* Whose turn this thread is in. Tests put it back that leave a turn for one of another engine. */
extern _Thread_local const struct shard *shard_current;

/* As engine_start() but without threads: a stepped engine. */
int engine_new(const struct engine_config *config, struct engine **ret_engine);

/* Hands @command to @shard; waits while its lane is full. Control threads. */
void engine_push(struct engine *engine, uint32_t shard, struct command *command);
/* The next command that came back on @reply; NULL after @timeout_ms (-1: never). Control threads.
 */
struct command *engine_pop(struct engine *engine, struct cmdq *reply, int timeout_ms);
/* Pushes and waits for the answer. Control threads. */
void engine_call(struct engine *engine, uint32_t shard, struct command *command);

#endif
