/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scrub: reads every slot in use of a chunk and checks what comes back. The pages keep their states
 * meanwhile, so nobody waits for a scrub, and a page that leaves its slot on the way is not judged.
 *
 *   read     a run of neighbouring slots, one at a time, into a buffer for bulk reads
 *   check    in steps: decrypted, digest compared; what is wrong, or could not be read, is suspect
 *   again    each suspect is read once more, alone
 *   judge    still wrong: a page in RAM drops the slot, which is retired, and has lost nothing. A
 *            page that is out stays as it is, reported: its next touch tries again, then poisons
 */
#include <errno.h>

#include "engine/command.h"
#include "engine/engine_priv.h"
#include "engine/fill.h"
#include "engine/resolve.h"
#include "engine/served.h"
#include "engine/shard.h"
#include "engine/task.h"
#include "io/slots.h"
#include "queue/base/assert.h"
#include "queue/base/probe.h"

static page_word word_of(const struct task *task, uint32_t i)
{
	return page_load(&task->vm->table, task->first_page + i);
}

/* Its slot is at rest and holds what its digest says. Reads of faults check for themselves. */
static bool is_checked(page_word word)
{
	const enum page_state state = page_state_of(word);

	return page_has_slot(word) &&
	       (state == PAGE_RESIDENT || state == PAGE_STAGED || state == PAGE_SWAPPED);
}

static bool begin_read(struct shard *shard, struct task *task, uint32_t first, uint32_t count)
{
	task->scrub = fill_begin_scrub(shard, task, task->first_page + first, count);
	return task->scrub != NULL;
}

static uint32_t run_length(const struct task *task, uint32_t first)
{
	const uint32_t slot = page_slot_of(word_of(task, first));
	const uint32_t limit = MIN(BULK_READ_PAGES, task->pages - first);
	uint32_t count = 1;

	while (count < limit && is_checked(word_of(task, first + count)) &&
		page_slot_of(word_of(task, first + count)) == slot + count)
		count++;
	return count;
}

/* The next suspect still worth a read; the number of pages when there is none. */
static uint32_t next_suspect(struct task *task)
{
	for (uint32_t i = 0; i < task->pages; i++) {
		if (!bit_get(task->suspect, i))
			continue;
		if (is_checked(word_of(task, i)))
			return i;
		bit_clear(task->suspect, i);
	}
	return task->pages;
}

/* False when it must wait for a buffer. */
static bool begin_next(struct shard *shard, struct task *task)
{
	uint32_t suspect;

	while (task->cursor < task->pages && !is_checked(word_of(task, task->cursor)))
		task->cursor++;
	if (task->cursor < task->pages) {
		const uint32_t count = run_length(task, task->cursor);

		if (!begin_read(shard, task, task->cursor, count))
			return false;
		task->cursor += count;
		return true;
	}
	task->is_second = true;
	suspect = next_suspect(task);
	if (suspect < task->pages)
		return begin_read(shard, task, suspect, 1);
	task->phase = TASK_DONE;
	return true;
}

static void report(struct shard *shard, struct task *task, uint32_t i, int error)
{
	const uint64_t page = task->first_page + i;
	const struct served *served = served_of_page(shard, task->vm, page);
	struct engine_event event = {
		.kind = ENGINE_PAGE_CORRUPT,
		.vm = task->vm,
		.process = served ? served->process : 0,
		.page = page,
		.error = error,
	};
	uint32_t pages = 1;

	if (served)
		(void)resolve_address(served, page, &pages, &event.address);
	task->command->result.bad_pages++;
	stats_add(shard_stats(shard, task->vm), STAT_corrupt_pages, 1);
	shard_post(shard, &event);
}

/* It was wrong twice. */
static void judge(struct shard *shard, struct task *task, uint32_t i, int error)
{
	const page_word word = word_of(task, i);

	if (page_state_of(word) == PAGE_SWAPPED) {
		report(shard, task, i, error);
		return;
	}
	page_move(&task->vm->table, shard_stats(shard, task->vm), task->first_page + i,
		page_plain(page_state_of(word)));
	PROBE(slot, mended);
	slots_retire(shard->slots, page_slot_of(word));
	task->command->result.mended_pages++;
}

static void found_wrong(struct shard *shard, struct task *task, uint32_t i, int error)
{
	if (!task->is_second) {
		bit_set(task->suspect, i);
		return;
	}
	judge(shard, task, i, error);
}

/* A step of what was read; the buffer is free after the last one. */
static void check_step(struct shard *shard, struct task *task)
{
	struct fill *fill = task->scrub;
	const uint32_t first = (uint32_t)(fill->first_page - task->first_page);
	const uint32_t end = MIN(fill->opened + STEP_PAGES, fill->count);

	for (; fill->opened < end; fill->opened++) {
		const uint32_t i = first + fill->opened;
		const page_word word = word_of(task, i);

		if (task->is_second)
			bit_clear(task->suspect, i);
		if (!is_checked(word) || page_slot_of(word) != fill->first_slot + fill->opened)
			continue;
		if (fill->error)
			found_wrong(shard, task, i, fill->error);
		else if (!fill_open_page(shard, fill, fill->opened))
			found_wrong(shard, task, i, -EBADMSG);
	}
	if (fill->opened < fill->count)
		return;
	if (!task->is_second) {
		task->command->result.pages += fill->count;
		task->command->result.bytes += fill->count * PAGE_BYTES;
	}
	task->scrub = NULL;
	fill_end_scrub(shard, fill);
}

bool scrub_step(struct shard *shard, struct task *task)
{
	shard_assert_owner(shard);
	if (!task->scrub)
		return begin_next(shard, task);
	if (!fill_is_read(task->scrub))
		return false;
	check_step(shard, task);
	return true;
}
