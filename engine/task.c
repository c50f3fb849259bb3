/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/task.h"

#include <string.h>

#include "engine/command.h"
#include "engine/shard.h"
#include "queue/base/assert.h"

bool task_has_room(const struct shard *shard)
{
	return shard->tasks_active < TASKS_MAX;
}

bool task_is_long(const struct command *command)
{
	if (command->kind != COMMAND_CHUNK)
		return false;
	switch (command->op) {
	case CHUNK_TRIM:
	case CHUNK_OUT:
	case CHUNK_SCRUB:
	case CHUNK_IN:
	case CHUNK_IN_OR_POISON: return true;
	case CHUNK_STAGE:
	case CHUNK_GUARD:
	case CHUNK_UNSTAGE:
	case CHUNK_SETTLE:
	case CHUNK_RELEASE:
	case CHUNK_FORGET: break;
	}
	return false;
}

static struct task *find_free(struct shard *shard)
{
	for (uint32_t i = 0; i < TASK_PLACES; i++)
		if (shard->tasks[i].phase == TASK_FREE)
			return &shard->tasks[i];
	UNREACHABLE();
}

static void finish(struct shard *shard, struct task *task)
{
	struct command *command = task->command;

	ASSERT(task->phase == TASK_DONE);
	ASSERT(task->in_flight == 0);
	command->result.chunks = 1;
	task->phase = TASK_FREE;
	task->command = NULL;
	shard->tasks_active--;
	shard_answer(shard, command);
}

/* The first phase of an operation; those that need no more than one slice are done in it. */
static void begin(struct shard *shard, struct task *task)
{
	task->phase = TASK_DONE;
	switch (task->command->op) {
	case CHUNK_STAGE: stage_walk(shard, task); break;
	case CHUNK_GUARD: stage_guard(task); break;
	case CHUNK_UNSTAGE: stage_unstage(shard, task); break;
	case CHUNK_SETTLE: stage_settle(shard, task); break;
	case CHUNK_TRIM:
	case CHUNK_OUT: task->phase = evict_begin(shard, task) ? TASK_CLASSIFY : TASK_DONE; break;
	case CHUNK_SCRUB: task->phase = TASK_SCRUB; break;
	case CHUNK_IN:
	case CHUNK_IN_OR_POISON: task->phase = TASK_FILL; break;
	case CHUNK_RELEASE: stage_release(shard, task); break;
	case CHUNK_FORGET: stage_forget(shard, task); break;
	}
}

void task_begin(struct shard *shard, struct command *command)
{
	struct task *task = find_free(shard);
	struct vm *vm = command->vm;

	shard_assert_owner(shard);
	ASSERT(command->kind == COMMAND_CHUNK);
	ASSERT(task_has_room(shard) || !task_is_long(command));
	ASSERT(vm_owner(vm, command->chunk) == shard->id);
	task->command = command;
	task->vm = vm;
	task->first_page = (uint64_t)command->chunk * CHUNK_PAGES;
	task->pages = vm_chunk_pages(vm, command->chunk);
	task->cursor = 0;
	task->in_flight = 0;
	task->punch_tries = 0;
	task->has_read_alias = false;
	task->is_sealing = false;
	task->scrub = NULL;
	task->is_second = false;
	memset(task->suspect, 0, sizeof(task->suspect));
	task->unreadable = 0;
	command->result = (struct dispatch_result){0};
	shard->tasks_active++;
	begin(shard, task);
	if (task->phase == TASK_DONE)
		finish(shard, task);
}

/*
 * Faults come before bulk work: while fault reads are under way, one bulk operation of the shard at
 * a time may be at the disk. A completion of either kind wakes the shard and lets the next one go.
 */
static bool must_wait_for_faults(const struct shard *shard)
{
	if (shard->fills.faults == 0)
		return false;
	if (shard->fills.bulk_free < BULK_READS_MAX)
		return true;
	for (uint32_t i = 0; i < TASKS_MAX; i++) {
		const struct task *task = &shard->tasks[i];

		if (task->phase == TASK_WRITING ||
			(task->phase == TASK_WRITE && task->in_flight > 0))
			return true;
	}
	return false;
}

static bool step(struct shard *shard, struct task *task)
{
	switch (task->phase) {
	case TASK_CLASSIFY:
	case TASK_PUNCH: return evict_step(shard, task);
	case TASK_WRITE: return !must_wait_for_faults(shard) && evict_step(shard, task);
	case TASK_FILL: return !must_wait_for_faults(shard) && swapin_step(shard, task);
	case TASK_SCRUB:
		return (task->scrub || !must_wait_for_faults(shard)) && scrub_step(shard, task);
	case TASK_FREE:
	case TASK_WRITING:
	case TASK_PUNCHING:
	case TASK_DONE: break;
	}
	return false;
}

static bool step_one(struct shard *shard, struct task *task)
{
	const bool is_busy = step(shard, task);

	if (task->phase != TASK_DONE)
		return is_busy;
	finish(shard, task);
	return true;
}

bool task_step_next(struct shard *shard)
{
	shard_assert_owner(shard);
	for (uint32_t i = 0; i < TASKS_MAX; i++) {
		struct task *task = &shard->tasks[shard->next_task];

		shard->next_task = (shard->next_task + 1) % TASKS_MAX;
		if (step_one(shard, task))
			return true;
	}
	return false;
}
