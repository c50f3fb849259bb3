/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staging, as seen by the owner of a chunk. Around it, control does the zap and the scan:
 *
 *   shard    STAGE    every page in the page cache becomes STAGED; the chunk is unsettled
 *   control  zap      in every process: from here on staged means unmapped
 *   control  scan     which write marks survived
 *   shard    SETTLE   slots whose page kept its mark are clean, others are dropped; dwell begins
 *
 * Between STAGE and SETTLE a touched page becomes resident without its slot (fault.c), so what
 * SETTLE finds still staged was not touched since the zap, and its mark speaks the truth.
 */
#include "engine/command.h"
#include "engine/shard.h"
#include "engine/task.h"
#include "io/guest.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/probe.h"

static void stage_page(struct shard *shard, struct task *task, uint64_t page)
{
	struct vm *vm = task->vm;
	const page_word word = page_load(&vm->table, page);
	const enum page_state state = page_state_of(word);
	const page_word staged = page_has_slot(word)
					 ? page_with_slot(PAGE_STAGED, page_slot_of(word), 0)
					 : page_plain(PAGE_STAGED);

	if (state != PAGE_EMPTY && state != PAGE_RESIDENT)
		return;
	page_move(&vm->table, shard_stats(shard, vm), page, staged);
	task->command->result.pages++;
}

/* A resident page without content was punched by the VMM. */
static void empty_page(struct shard *shard, struct task *task, uint64_t page)
{
	struct vm *vm = task->vm;
	const page_word word = page_load(&vm->table, page);

	if (page_state_of(word) != PAGE_RESIDENT)
		return;
	if (page_has_slot(word))
		shard_drop_slot(shard, vm, page, PAGE_EMPTY);
	else
		page_move(&vm->table, shard_stats(shard, vm), page, page_plain(PAGE_EMPTY));
}

void stage_walk(struct shard *shard, struct task *task)
{
	struct chunk_summary *chunk = page_chunk(&task->vm->table, task->first_page);
	uint64_t cached[BITMAP_WORDS(CHUNK_PAGES)];
	int error;

	/* Before the first page is staged: no page of a chunk that is being zapped is punched. */
	atomic_fetch_or_explicit(&chunk->settled_ns, CHUNK_IS_ZAPPED, memory_order_relaxed);
	PROBE(stage, marked);
	error = guest_cached(vm_alias(task->vm, task->first_page), task->pages, cached);
	if (error) {
		task->command->result.error = error;
		return;
	}
	for (uint32_t i = 0; i < task->pages; i++) {
		if (bit_get(cached, i))
			stage_page(shard, task, task->first_page + i);
		else
			empty_page(shard, task, task->first_page + i);
	}
	PROBE(stage, staged);
	if (task->command->result.pages > 0)
		atomic_store_explicit(&chunk->settled_ns, CHUNK_UNSETTLED, memory_order_relaxed);
}

/*
 * The zap of a process that joins raises the same events as a discard; slots must not go for it.
 */
void stage_guard(struct task *task)
{
	struct chunk_summary *chunk = page_chunk(&task->vm->table, task->first_page);

	atomic_fetch_or_explicit(&chunk->settled_ns, CHUNK_IS_ZAPPED, memory_order_relaxed);
	PROBE(stage, guarded);
}

/* @action on every page of the chunk in state STAGED. */
static void each_staged(struct shard *shard, struct task *task,
	void (*action)(struct shard *, struct task *, uint32_t))
{
	for (uint32_t i = 0; i < task->pages; i++)
		if (page_state_of(page_load(&task->vm->table, task->first_page + i)) == PAGE_STAGED)
			action(shard, task, i);
}

static void make_resident(struct shard *shard, struct task *task, uint32_t i)
{
	struct vm *vm = task->vm;
	const uint64_t page = task->first_page + i;

	if (page_has_slot(page_load(&vm->table, page)))
		shard_drop_slot(shard, vm, page, PAGE_RESIDENT);
	else
		page_move(&vm->table, shard_stats(shard, vm), page, page_plain(PAGE_RESIDENT));
	task->command->result.pages++;
}

static void unstage_page(struct shard *shard, struct task *task, uint32_t i)
{
	if (bit_get(task->command->bits, i))
		make_resident(shard, task, i);
}

void stage_unstage(struct shard *shard, struct task *task)
{
	ASSERT(task->command->bits != NULL);
	each_staged(shard, task, unstage_page);
	PROBE(stage, unstaged);
}

static void settle_page(struct shard *shard, struct task *task, uint32_t i)
{
	struct vm *vm = task->vm;
	const uint64_t page = task->first_page + i;
	const page_word word = page_load(&vm->table, page);

	if (!page_has_slot(word) || page_is_clean(word))
		return;
	if (bit_get(task->command->bits, i))
		page_move(&vm->table, shard_stats(shard, vm), page,
			page_with_slot(PAGE_STAGED, page_slot_of(word), PAGE_CLEAN));
	else
		shard_drop_slot(shard, vm, page, PAGE_STAGED);
}

void stage_settle(struct shard *shard, struct task *task)
{
	struct chunk_summary *chunk = page_chunk(&task->vm->table, task->first_page);
	const uint64_t zapped = atomic_load_explicit(&chunk->settled_ns, memory_order_relaxed);

	if (task->command->bits)
		each_staged(shard, task, settle_page);
	PROBE(stage, settled);
	/* Where nothing new was staged the dwell goes on from the zap before. */
	atomic_store_explicit(&chunk->settled_ns,
		zapped == CHUNK_UNSETTLED ? clock_ns() : zapped & ~CHUNK_IS_ZAPPED,
		memory_order_relaxed);
}

static void release_slot(struct shard *shard, struct task *task, uint64_t page)
{
	const page_word word = page_load(&task->vm->table, page);

	if (page_state_of(word) == PAGE_RESIDENT && page_has_slot(word))
		shard_drop_slot(shard, task->vm, page, PAGE_RESIDENT);
}

void stage_release(struct shard *shard, struct task *task)
{
	const struct chunk_summary *chunk = page_chunk(&task->vm->table, task->first_page);

	each_staged(shard, task, make_resident);
	for (uint32_t i = 0; i < task->pages; i++)
		release_slot(shard, task, task->first_page + i);
	PROBE(stage, released);
	task->command->result.left_pages = atomic_load_explicit(&chunk->out, memory_order_relaxed);
}

void stage_forget(struct shard *shard, struct task *task)
{
	struct vm *vm = task->vm;

	for (uint32_t i = 0; i < task->pages; i++) {
		const uint64_t page = task->first_page + i;
		const page_word word = page_load(&vm->table, page);

		if (page_has_slot(word))
			shard_drop_slot(shard, vm, page, PAGE_EMPTY);
		else if (page_state_of(word) != PAGE_EMPTY)
			page_move(&vm->table, shard_stats(shard, vm), page, page_plain(PAGE_EMPTY));
	}
	PROBE(stage, forgotten);
}
