/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/recorder.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/command.h"
#include "engine/engine_priv.h"
#include "engine/vm.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* The buffers of all shards of one VM. */
struct recorders {
	struct recorded_fault *memory; /* mapped; an equal part for each */
	size_t memory_bytes;
	uint32_t count;
	struct recorder recorder[SHARDS_MAX];
};

/* Faults for one shard. By default every page it owns has its place, however the stripes fall. */
static uint32_t share_of(const struct vm *vm, uint64_t capacity)
{
	const uint64_t stripes = divide_up(vm->chunk_count, vm->stripe_chunks);
	const uint64_t own_pages =
		divide_up(stripes, vm->shard_count) * vm->stripe_chunks * CHUNK_PAGES;
	const uint64_t wanted = capacity == 0 ? own_pages : divide_up(capacity, vm->shard_count);

	return (uint32_t)MIN(wanted, RECORDER_FAULTS_MAX / vm->shard_count);
}

static void recorders_free(struct recorders *recorders)
{
	(void)munmap(recorders->memory, recorders->memory_bytes); /* @control munmap */
	free(recorders);
}

static struct recorders *recorders_new(const struct vm *vm, uint64_t capacity)
{
	struct recorders *recorders = calloc(1, sizeof(*recorders));
	const uint32_t share = share_of(vm, capacity);

	ASSERT(share > 0);
	if (!recorders)
		return NULL;
	recorders->count = vm->shard_count;
	recorders->memory_bytes = (size_t)share * vm->shard_count * sizeof(*recorders->memory);
	/* Populated: a shard must not wait for memory when it writes there. */
	/* @control mmap */
	recorders->memory = mmap(NULL, recorders->memory_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (recorders->memory == MAP_FAILED) {
		free(recorders);
		return NULL;
	}
	for (uint32_t i = 0; i < recorders->count; i++)
		recorders->recorder[i] = (struct recorder){
			.fault = recorders->memory + (size_t)i * share,
			.capacity = share,
			.start_ns = clock_ns(),
		};
	return recorders;
}

/* Gives every shard its buffer, or takes all away (NULL). */
static void tell_shards(struct vm *vm, struct recorders *recorders)
{
	for (uint32_t i = 0; i < vm->shard_count; i++) {
		struct command command = {
			.magic = COMMAND_MAGIC,
			.kind = COMMAND_RECORD,
			.vm = vm,
			.reply = vm->reply,
			.recorder = recorders ? &recorders->recorder[i] : NULL,
		};

		engine_call(vm->engine, i, &command);
	}
}

int vm_record_start(struct vm *vm, uint64_t capacity)
{
	struct recorders *recorders;

	if (vm->recorders)
		return -EALREADY;
	if ((uint64_t)vm->chunk_count * CHUNK_PAGES > UINT32_MAX)
		return -EFBIG;
	recorders = recorders_new(vm, capacity);
	if (!recorders)
		return -ENOMEM;
	tell_shards(vm, recorders);
	vm->recorders = recorders;
	return 0;
}

/* Of two indices into @context. */
static int by_time(const void *left, const void *right, void *context)
{
	const struct recorded_fault *memory = context;
	const uint32_t a = *(const uint32_t *)left;
	const uint32_t b = *(const uint32_t *)right;

	if (memory[a].time_ns != memory[b].time_ns)
		return memory[a].time_ns < memory[b].time_ns ? -1 : 1;
	/* Messages read at once have one time: in the order they were served. */
	return a < b ? -1 : a > b;
}

/* The page's number without the padding behind short chunks. */
static uint32_t number_of(const struct vm *vm, uint32_t page)
{
	const struct region *region = vm_region_of_chunk(vm, page / CHUNK_PAGES);
	uint64_t number = page - (uint64_t)region->first_chunk * CHUNK_PAGES;

	for (const struct region *before = vm->region; before < region; before++)
		number += before->size_bytes / PAGE_BYTES;
	ASSERT(number < vm->pages);
	return (uint32_t)number;
}

/* Copies what was recorded to ret_recording->fault, by time. */
static void sort(const struct vm *vm, uint32_t *order, struct recording *ret_recording)
{
	const struct recorders *recorders = vm->recorders;
	struct recorded_fault *fault = ret_recording->fault;

	*ret_recording = (struct recording){.fault = fault};
	for (uint32_t i = 0; i < recorders->count; i++) {
		const struct recorder *recorder = &recorders->recorder[i];
		const uint32_t first = (uint32_t)(recorder->fault - recorders->memory);

		for (uint32_t j = 0; j < recorder->count; j++)
			order[ret_recording->count++] = first + j;
		ret_recording->dropped += recorder->dropped;
	}
	qsort_r(order, ret_recording->count, sizeof(*order), by_time, recorders->memory);
	for (uint64_t i = 0; i < ret_recording->count; i++) {
		fault[i] = recorders->memory[order[i]];
		fault[i].page = number_of(vm, fault[i].page);
	}
}

int vm_record_stop(struct vm *vm, struct recording *ret_recording)
{
	struct recorders *recorders = vm->recorders;
	struct recorded_fault *fault;
	uint32_t *order;

	if (!recorders)
		return -ENODATA;
	/* Before the shards are told, so that nothing is lost when memory is short. */
	fault = malloc(recorders->memory_bytes);
	order = malloc(recorders->memory_bytes / sizeof(*fault) * sizeof(*order));
	if (!fault || !order) {
		free(fault);
		free(order);
		return -ENOMEM;
	}
	tell_shards(vm, NULL);
	ret_recording->fault = fault;
	sort(vm, order, ret_recording);
	recorder_discard(vm);
	free(order);
	return 0;
}

bool vm_is_recorded(const struct vm *vm)
{
	return vm->recorders != NULL;
}

void recorder_discard(struct vm *vm)
{
	if (vm->recorders)
		recorders_free(vm->recorders);
	vm->recorders = NULL;
}
