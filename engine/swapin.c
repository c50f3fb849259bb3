/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing the swapped pages of one chunk back: runs of pages whose slots follow each other are
 * read with one large read each, several at a time; the copies are made by fill.c in small steps.
 * Pages that a fault is reading are left to it. What no process maps any more is put into the file.
 * The chunk is done when nothing is out but what is poisoned, or when no process is left.
 */
#include <errno.h>

#include "engine/command.h"
#include "engine/fill.h"
#include "engine/resolve.h"
#include "engine/served.h"
#include "engine/shard.h"
#include "engine/task.h"
#include "queue/base/assert.h"

/* To be brought in, and not found unreadable. */
static bool is_wanted(const struct task *task, uint32_t i)
{
	return page_state_of(page_load(&task->vm->table, task->first_page + i)) == PAGE_SWAPPED &&
	       !bit_get(task->suspect, i);
}

static enum page_state state_of(const struct task *task, uint32_t i)
{
	return page_state_of(page_load(&task->vm->table, task->first_page + i));
}

/* Pages with consecutive slots that lie behind each other in @served, or begin where it has none.
 */
static uint32_t run_length(const struct task *task, const struct served *served, uint32_t first)
{
	const page_word word = page_load(&task->vm->table, task->first_page + first);
	uint32_t limit = MIN(BULK_READ_PAGES, task->pages - first);
	uint32_t count = 1;
	uint64_t address;

	(void)resolve_address(served, task->first_page + first, &limit, &address);
	while (count < limit) {
		const page_word next =
			page_load(&task->vm->table, task->first_page + first + count);

		if (page_state_of(next) != PAGE_SWAPPED || bit_get(task->suspect, first + count) ||
			page_slot_of(next) != page_slot_of(word) + count)
			break;
		count++;
	}
	return count;
}

/* Begins the read of the run at the cursor. False when it must wait for a buffer. */
static bool begin_run(struct shard *shard, struct task *task)
{
	const uint64_t page = task->first_page + task->cursor;
	struct served *served = served_of_page(shard, task->vm, page);
	uint32_t count;

	if (!served)
		served = served_of_vm(shard, task->vm);
	if (!served) {
		task->command->result.error = -ESRCH;
		task->cursor++;
		return true;
	}
	count = run_length(task, served, task->cursor);
	if (!fill_begin_bulk(shard, task, served, page, count))
		return false;
	task->in_flight++;
	task->cursor += count;
	return true;
}

static void count_left(struct task *task)
{
	for (uint32_t i = 0; i < task->pages; i++) {
		const enum page_state state = state_of(task, i);

		task->command->result.left_pages += state == PAGE_SWAPPED || state == PAGE_POISONED;
	}
}

/* At the end of a pass: done, or another pass over what came back to SWAPPED meanwhile. */
static bool end_pass(struct task *task)
{
	bool is_again = false;

	if (task->in_flight > 0)
		return false;
	for (uint32_t i = 0; i < task->pages; i++) {
		if (state_of(task, i) == PAGE_READING)
			return false;
		is_again |= is_wanted(task, i);
	}
	/* -ESRCH: nobody to bring them to; another pass would find the same. */
	if (is_again && task->command->result.error != -ESRCH) {
		task->cursor = 0;
		return true;
	}
	count_left(task);
	task->phase = TASK_DONE;
	return true;
}

bool swapin_step(struct shard *shard, struct task *task)
{
	bool is_busy = false;

	shard_assert_owner(shard);
	while (task->cursor < task->pages) {
		if (!is_wanted(task, task->cursor)) {
			task->cursor++;
			continue;
		}
		if (!begin_run(shard, task))
			return is_busy;
		is_busy = true;
	}
	return end_pass(task) || is_busy;
}

bool swapin_may_split(const struct task *task)
{
	return task->unreadable < UNREADABLE_MAX || swapin_may_poison(task);
}

bool swapin_may_poison(const struct task *task)
{
	return task->command->op == CHUNK_IN_OR_POISON;
}

void swapin_leave(struct task *task, uint64_t page, uint32_t count)
{
	ASSERT(page >= task->first_page);
	ASSERT(page + count <= task->first_page + task->pages);
	task->unreadable += count;
	for (uint32_t i = 0; i < count; i++)
		bit_set(task->suspect, page - task->first_page + i);
}

void swapin_fill_done(struct task *task, uint32_t pages, int error)
{
	struct dispatch_result *result = &task->command->result;

	ASSERT(task->phase == TASK_FILL);
	ASSERT(task->in_flight > 0);
	task->in_flight--;
	result->pages += pages;
	result->bytes += pages * PAGE_BYTES;
	if (error)
		result->error = error;
}
