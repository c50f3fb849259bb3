/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation over many chunks: each chunk is a command to the shard that owns it. Every shard
 * has its own cursor over its own stripes, so all of them work from the beginning, and
 * DISPATCH_IN_FLIGHT commands at a time, so that a shard never waits for the control thread.
 */
#include <errno.h>
#include <string.h>

#include "engine/command.h"
#include "engine/engine_priv.h"
#include "engine/vm.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

/* How long to wait for a completion before looking at the abort flag again. */
#define ABORT_POLL_MS 100

struct dispatch {
	struct vm *vm;
	enum chunk_op op;
	struct chunk_range range;
	struct dispatch_control *control; /* may be NULL */
	struct dispatch_result *result;
	uint32_t free_count[SHARDS_MAX];
	uint32_t cursor[SHARDS_MAX]; /* next chunk to look at */
	uint32_t in_flight;
};

static uint32_t range_end(const struct dispatch *dispatch)
{
	return dispatch->range.first + dispatch->range.count;
}

/* The next chunk of @shard at or after @chunk. */
static uint32_t own_chunk(const struct vm *vm, uint32_t shard, uint32_t chunk)
{
	const uint32_t stripe = chunk / vm->stripe_chunks;
	const uint32_t away =
		(shard + vm->shard_count - stripe % vm->shard_count) % vm->shard_count;

	return away == 0 ? chunk : (stripe + away) * vm->stripe_chunks;
}

static uint32_t next_chunk(struct dispatch *dispatch, uint32_t shard)
{
	uint32_t chunk = dispatch->cursor[shard];

	for (; chunk < range_end(dispatch); chunk++) {
		chunk = own_chunk(dispatch->vm, shard, chunk);
		if (chunk >= range_end(dispatch))
			break;
		if (vm_chunk_has_work(dispatch->vm, chunk, dispatch->op))
			return chunk;
	}
	return range_end(dispatch);
}

static void send(struct dispatch *dispatch, uint32_t shard, uint32_t chunk)
{
	const uint32_t top = shard * DISPATCH_IN_FLIGHT + --dispatch->free_count[shard];
	struct vm *vm = dispatch->vm;
	struct command *command = &vm->command[vm->free_command[top]];

	*command = (struct command){
		.magic = COMMAND_MAGIC,
		.kind = COMMAND_CHUNK,
		.vm = vm,
		.reply = vm->reply,
		.op = dispatch->op,
		.chunk = chunk,
	};
	if (dispatch->range.bits)
		command->bits = dispatch->range.bits +
				(size_t)(chunk - dispatch->range.first) * BITMAP_WORDS(CHUNK_PAGES);
	dispatch->in_flight++;
	engine_push(vm->engine, shard, command);
}

static void send_all(struct dispatch *dispatch)
{
	for (uint32_t shard = 0; shard < dispatch->vm->shard_count; shard++) {
		while (dispatch->free_count[shard] > 0) {
			const uint32_t chunk = next_chunk(dispatch, shard);

			dispatch->cursor[shard] = MIN(chunk + 1, range_end(dispatch));
			if (chunk == range_end(dispatch))
				break;
			send(dispatch, shard, chunk);
		}
	}
}

static void add_result(struct dispatch_result *sum, const struct dispatch_result *one)
{
	sum->chunks += one->chunks;
	sum->pages += one->pages;
	sum->zero_pages += one->zero_pages;
	sum->clean_pages += one->clean_pages;
	sum->left_pages += one->left_pages;
	sum->bytes += one->bytes;
	sum->bad_pages += one->bad_pages;
	sum->mended_pages += one->mended_pages;
	if (one->next_ready_ns != 0 &&
		(sum->next_ready_ns == 0 || one->next_ready_ns < sum->next_ready_ns))
		sum->next_ready_ns = one->next_ready_ns;
	if (!sum->error)
		sum->error = one->error;
}

static void take(struct dispatch *dispatch, struct command *command)
{
	struct vm *vm = dispatch->vm;
	const uint32_t shard = vm_owner(vm, command->chunk);

	ASSERT(command->magic == COMMAND_MAGIC);
	add_result(dispatch->result, &command->result);
	if (dispatch->control) {
		atomic_store(&dispatch->control->chunks_done, dispatch->result->chunks);
		atomic_store(&dispatch->control->pages_done, dispatch->result->pages);
	}
	vm->free_command[shard * DISPATCH_IN_FLIGHT + dispatch->free_count[shard]++] =
		(uint32_t)(command - vm->command);
	dispatch->in_flight--;
}

static void dispatch_init(struct dispatch *dispatch)
{
	const uint32_t shards = dispatch->vm->shard_count;

	for (uint32_t i = 0; i < shards * DISPATCH_IN_FLIGHT; i++)
		dispatch->vm->free_command[i] = i;
	for (uint32_t shard = 0; shard < shards; shard++) {
		dispatch->free_count[shard] = DISPATCH_IN_FLIGHT;
		dispatch->cursor[shard] = dispatch->range.first;
	}
}

static bool is_aborted(const struct dispatch *dispatch)
{
	return dispatch->control && atomic_load(&dispatch->control->abort);
}

/* Until every chunk has been sent and has come back, or after an abort what was sent has. */
static int run(struct dispatch *dispatch)
{
	bool is_stopped = false;

	for (;;) {
		struct command *command;

		is_stopped = is_stopped || is_aborted(dispatch);
		if (!is_stopped)
			send_all(dispatch);
		if (dispatch->in_flight == 0)
			return is_stopped ? -ECANCELED : 0;
		command = engine_pop(dispatch->vm->engine, dispatch->vm->reply, ABORT_POLL_MS);
		if (command)
			take(dispatch, command);
	}
}

int vm_next_stored(const struct vm *vm, uint32_t first, uint32_t *ret_chunk)
{
	for (uint32_t chunk = first; chunk < vm->chunk_count; chunk++) {
		if (vm_chunk_has_work(vm, chunk, CHUNK_SCRUB)) {
			*ret_chunk = chunk;
			return 0;
		}
	}
	return -ENXIO;
}

static bool is_out(const struct vm *vm, uint64_t page)
{
	const enum page_state state = page_state_of(page_load(&vm->table, page));

	return state == PAGE_SWAPPED || state == PAGE_READING;
}

int vm_next_out(const struct vm *vm, uint64_t first, uint64_t *ret_first, uint64_t *ret_count)
{
	const uint64_t end = vm_pages(vm);
	uint64_t page = first;

	while (page < end && !is_out(vm, page)) {
		const uint32_t chunk = (uint32_t)(page / CHUNK_PAGES);

		if (vm_chunk_has_work(vm, chunk, CHUNK_IN))
			page++;
		else
			page = ((uint64_t)chunk + 1) * CHUNK_PAGES;
	}
	if (page >= end)
		return -ENXIO;
	*ret_first = page;
	while (page < end && is_out(vm, page))
		page++;
	*ret_count = page - *ret_first;
	return 0;
}

int vm_dispatch(struct vm *vm, enum chunk_op op, const struct chunk_range *range,
	struct dispatch_control *control, struct dispatch_result *ret_result)
{
	const struct chunk_range all = {.count = vm->chunk_count};
	struct dispatch dispatch = {
		.vm = vm,
		.op = op,
		.range = range ? *range : all,
		.control = control,
		.result = ret_result,
	};

	ASSERT(dispatch.range.count <= vm->chunk_count);
	ASSERT(dispatch.range.first <= vm->chunk_count - dispatch.range.count);
	memset(ret_result, 0, sizeof(*ret_result));
	dispatch_init(&dispatch);
	return run(&dispatch);
}
