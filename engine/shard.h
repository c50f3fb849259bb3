/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard: one thread that owns stripes of every VM, one userfaultfd a process, one io_uring, one
 * lane of the command queue and its part of the slots. shard_step() is one turn that never blocks:
 *
 *   1. read fault messages and serve them; retry parked faults
 *   2. submit what these and the last turn prepared, take completions (disk, punches, polls)
 *   3. copy in what reads brought; read ahead along replays
 *   4. take commands while there is room for their work, and give each chunk task a bounded slice
 *
 * shard_run() is step, spin a little after activity, sleep. Tests step shards without threads.
 */
#ifndef VMSWAP_ENGINE_SHARD_H
#define VMSWAP_ENGINE_SHARD_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/child.h"
#include "engine/fill.h"
#include "engine/limits.h"
#include "engine/park.h"
#include "engine/seal.h"
#include "engine/served.h"
#include "engine/task.h"
#include "engine/vm.h"

struct cmdq;
struct command;
struct engine;
struct slots;
struct uring;

/* What a completion is for. */
enum token_kind {
	TOKEN_WAKE = 1, /* the lane's eventfd is readable */
	TOKEN_UFFD,	/* index: served */
	TOKEN_FILL,	/* index: fill */
	TOKEN_WRITE,	/* index: task; tag: first page of the run in the chunk */
	TOKEN_PUNCH,	/* index: task */
	TOKEN_SPACE,	/* the space of a slot group is given back */
	TOKEN_UNPOLL,	/* index: served whose poll is cancelled */
};

struct shard {
	/* constant after start */
	struct engine *engine;
	uint32_t id;
	int cpu; /* -1: not pinned */
	uint64_t spin_ns;
	int store_fd;
	struct cmdq *cmdq; /* lane id */
	struct uring *ring;
	struct slots *slots;
	pthread_t thread;
	sem_t has_begun;
	int begin_error; /* valid after has_begun */

	/* owner thread only */
	bool is_stopping;
	bool has_replays;      /* one of served is_replayed */
	uint64_t step_ns;      /* of the last whole turn */
	uint32_t spin_skips;   /* idle moments to come without spinning */
	uint32_t spin_backoff; /* how many the last time */
	struct command *stop_command;
	struct command *space_command;
	uint32_t space_slot;
	struct served *served; /* SERVED_MAX */
	uint32_t served_end;   /* one past the last used */
	uint32_t next_child;   /* number of the next child */
	struct child_board *board;
	struct child_board *own_board; /* where nobody reads it, else NULL */
	struct fills fills;
	struct seals seals;
	struct parked parked;
	struct command *waiting, *waiting_last; /* for room to work, in the order they came */
	struct task *tasks;			/* TASK_PLACES */
	uint32_t tasks_active;
	uint32_t next_task; /* whose slice comes next */
};

/* What a shard needs of others, but its thread. -errno. Set-up threads. */
int shard_init(struct shard *shard, struct engine *engine, uint32_t id, int cpu);
void shard_destroy(struct shard *shard);

/* The owner thread's first call: what takes long, pages of a predecessor and buffers. -errno. */
int shard_begin(struct shard *shard);
/* One turn. True when there was something to do. Owner thread. */
bool shard_step(struct shard *shard);
/*
 * begin, then step and sleep until COMMAND_STOP; ends at once when it cannot begin. The thread's
 * function; @argument: the shard.
 */
void *shard_run(void *argument);
/* Waits for the thread's shard_begin(). When that failed the thread has ended. Set-up threads. */
int shard_await_begin(struct shard *shard);

/* Owner-only functions begin with it. */
void shard_assert_owner(const struct shard *shard);

/* Reports an event; counted as lost when the bound is reached. Owner thread. */
struct engine_event;
void shard_post(struct shard *shard, const struct engine_event *event);
/* Sends a command back to its sender. Owner thread. */
void shard_answer(struct shard *shard, struct command *command);

/* The page leaves its slot: to @state without one, and the slot is free. Owner thread. */
void shard_drop_slot(struct shard *shard, struct vm *vm, uint64_t page, enum page_state state);

/*
 * Replays of faults of @served may go on, in this turn or the next; not while faults are recorded,
 * as what is read ahead is not seen. Owner thread.
 */
static inline void shard_want_replay(struct shard *shard, struct served *served)
{
	if (served->vm->shard[shard->id].recorder)
		return;
	served->is_replayed = true;
	shard->has_replays = true;
}

static inline struct stats_block *shard_stats(const struct shard *shard, const struct vm *vm)
{
	return &vm->stats[shard->id];
}

static inline struct vm_shard *shard_of_vm(const struct shard *shard, struct vm *vm)
{
	return &vm->shard[shard->id];
}

#endif
