/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation over many chunks: each chunk is a command to the shard that owns it. Every shard
 * has its own cursor over its own stripes, so all of them work from the beginning, and
 * DISPATCH_IN_FLIGHT commands at a time, so that a shard never waits for the control thread.
 */
#include <errno.h>
#include <stdlib.h>
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
	struct cmdq *reply;
	struct command *command; /* DISPATCH_IN_FLIGHT a shard */
	uint32_t *free_command;	 /* stacks of indices of command, one a shard */
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
	struct command *command = &dispatch->command[dispatch->free_command[top]];

	*command = (struct command){
		.magic = COMMAND_MAGIC,
		.kind = COMMAND_CHUNK,
		.vm = dispatch->vm,
		.reply = dispatch->reply,
		.op = dispatch->op,
		.chunk = chunk,
	};
	if (dispatch->range.bits)
		command->bits = dispatch->range.bits +
				(size_t)(chunk - dispatch->range.first) * BITMAP_WORDS(CHUNK_PAGES);
	dispatch->in_flight++;
	engine_push(dispatch->vm->engine, shard, command);
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
	const uint32_t shard = vm_owner(dispatch->vm, command->chunk);

	ASSERT(command->magic == COMMAND_MAGIC);
	add_result(dispatch->result, &command->result);
	if (dispatch->control) {
		atomic_store(&dispatch->control->chunks_done, dispatch->result->chunks);
		atomic_store(&dispatch->control->pages_done, dispatch->result->pages);
	}
	dispatch->free_command[shard * DISPATCH_IN_FLIGHT + dispatch->free_count[shard]++] =
		(uint32_t)(command - dispatch->command);
	dispatch->in_flight--;
}

static int dispatch_init(struct dispatch *dispatch)
{
	const uint32_t shards = dispatch->vm->shard_count;
	const uint32_t count = shards * DISPATCH_IN_FLIGHT;

	dispatch->command = calloc(count, sizeof(*dispatch->command));
	dispatch->free_command = calloc(count, sizeof(*dispatch->free_command));
	if (!dispatch->command || !dispatch->free_command)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		dispatch->free_command[i] = i;
	for (uint32_t shard = 0; shard < shards; shard++) {
		dispatch->free_count[shard] = DISPATCH_IN_FLIGHT;
		dispatch->cursor[shard] = dispatch->range.first;
	}
	return replies_lend(&dispatch->vm->engine->replies, &dispatch->reply);
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
		command = engine_pop(dispatch->vm->engine, dispatch->reply, ABORT_POLL_MS);
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
	int error;

	ASSERT(dispatch.range.count <= vm->chunk_count);
	ASSERT(dispatch.range.first <= vm->chunk_count - dispatch.range.count);
	memset(ret_result, 0, sizeof(*ret_result));
	error = dispatch_init(&dispatch);
	if (!error)
		error = run(&dispatch);
	replies_take_back(&vm->engine->replies, dispatch.reply);
	free(dispatch.free_command);
	free(dispatch.command);
	return error;
}
