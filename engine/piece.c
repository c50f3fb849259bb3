/* SPDX-License-Identifier: Apache-2.0 */
/* What control needs to zap a piece and to look at the outcome. */
#include "engine/piece.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"
#include "engine/vm.h"
#include "io/guest.h"
#include "queue/base/assert.h"

struct piece piece_at(const struct vm *vm, uint32_t chunk)
{
	const struct region *region = vm_region_of_chunk(vm, chunk);
	const uint32_t stripe_end = (chunk / vm->stripe_chunks + 1) * vm->stripe_chunks;
	const uint32_t region_end = region->first_chunk + region->chunk_count;

	return (struct piece){
		.region = (uint32_t)(region - vm->region),
		.shard = vm_owner(vm, chunk),
		.first_chunk = chunk,
		.chunk_count = MIN(stripe_end, region_end) - chunk,
	};
}

uint64_t piece_bytes(const struct vm *vm, uint32_t first, uint32_t count)
{
	const struct region *region = vm_region_of_chunk(vm, first);
	const uint64_t from = (uint64_t)(first - region->first_chunk) * CHUNK_BYTES;

	return MIN(count * CHUNK_BYTES, region->size_bytes - from);
}

uint64_t piece_address(const struct vm *vm, const struct vm_process *process, uint32_t first)
{
	const struct region *region = vm_region_of_chunk(vm, first);
	const uint64_t base = process->address[region - vm->region];

	return base == 0 ? 0 : base + (uint64_t)(first - region->first_chunk) * CHUNK_BYTES;
}

/* The first chunk at or after @first whose memory the memfd holds some of. */
static int next_with_data(const struct vm *vm, uint32_t first, uint32_t *ret_chunk)
{
	while (first < vm->chunk_count) {
		const struct region *region = vm_region_of_chunk(vm, first);
		const uint64_t page = (uint64_t)first * CHUNK_PAGES;
		uint64_t start;
		const int error = guest_next_data(region->memfd, vm_file_offset(vm, page),
			region->file_offset + region->size_bytes, &start, NULL);

		if (!error) {
			*ret_chunk = region->first_chunk +
				     (uint32_t)((start - region->file_offset) / CHUNK_BYTES);
			return 0;
		}
		if (error != -ENXIO)
			return error;
		first = region->first_chunk + region->chunk_count;
	}
	return -ENXIO;
}

int vm_next_piece(
	struct vm *vm, uint32_t first, uint32_t max, uint32_t *ret_first, uint32_t *ret_count)
{
	uint32_t chunk;
	const int error = next_with_data(vm, first, &chunk);

	ASSERT(max > 0);
	if (error)
		return error;
	*ret_first = chunk;
	*ret_count = MIN(piece_at(vm, chunk).chunk_count, max);
	return 0;
}

int vm_piece_address(const struct vm *vm, uint32_t index, uint32_t first, uint32_t count,
	uint64_t *ret_address, uint64_t *ret_size_bytes)
{
	const struct vm_process *process = &vm->process[index];
	uint64_t address;

	ASSERT(index < PROCESSES_MAX);
	if (!process->is_used)
		return -ENOENT;
	/* pairs with event.c:layout_changed() */
	if (atomic_load_explicit(&vm->moved_processes, memory_order_acquire) >> index & 1)
		return -ESTALE;
	address = piece_address(vm, process, first);
	if (address == 0)
		return -ENOENT;
	*ret_address = address;
	*ret_size_bytes = piece_bytes(vm, first, count);
	return 0;
}

/* The process whose marks speak for the VM: the only one. */
static uint32_t only_process(const struct vm *vm)
{
	uint32_t index = 0;

	while (index < PROCESSES_MAX && !vm->process[index].is_used)
		index++;
	return index;
}

int vm_scan_piece(struct vm *vm, uint32_t first, uint32_t count, uint64_t *ret_marked)
{
	const uint32_t index = only_process(vm);
	uint64_t address;
	uint64_t size;
	int error;

	if (!atomic_load(&vm->has_marks) || index == PROCESSES_MAX)
		return -ENOTSUP;
	error = vm_piece_address(vm, index, first, count, &address, &size);
	if (error)
		return error;
	memset(ret_marked, 0, count * (CHUNK_PAGES / 8));
	return guest_scan_marked(
		vm->process[index].pagemap, address, (uint32_t)(size / PAGE_BYTES), ret_marked);
}

/* Adds what one process still maps of a piece to @present; @one: room for as many bits. */
static int add_present(const struct vm *vm, uint32_t index, const struct chunk_range *range,
	uint64_t *one, uint64_t *present)
{
	const size_t words = range->count * BITMAP_WORDS(CHUNK_PAGES);
	uint64_t address;
	uint64_t size;
	int error = vm_piece_address(vm, index, range->first, range->count, &address, &size);

	if (error)
		return error == -ENOENT ? 0 : error;
	error = guest_scan_present(
		vm->process[index].pagemap, address, (uint32_t)(size / PAGE_BYTES), one);
	for (size_t word = 0; !error && word < words; word++)
		present[word] |= one[word];
	return error;
}

int vm_scan_present_piece(struct vm *vm, uint32_t first, uint32_t count, uint64_t *ret_present)
{
	const struct chunk_range range = {.first = first, .count = count};
	const size_t words = count * BITMAP_WORDS(CHUNK_PAGES);
	uint64_t *one = calloc(words, sizeof(*one));
	int error = one ? 0 : -ENOMEM;

	memset(ret_present, 0, words * sizeof(*ret_present));
	for (uint32_t i = 0; !error && i < PROCESSES_MAX; i++)
		error = add_present(vm, i, &range, one, ret_present);
	free(one);
	return error;
}

int vm_pageout_piece(struct vm *vm, uint32_t first, uint32_t count)
{
	const uint64_t page = (uint64_t)first * CHUNK_PAGES;

	/* Pages that another mapping holds too are skipped by the kernel, and ours is one. */
	guest_alias_drop(vm_alias(vm, page), piece_bytes(vm, first, count));
	for (uint32_t i = 0; i < PROCESSES_MAX; i++) {
		uint64_t address;
		uint64_t size;
		int error = vm_piece_address(vm, i, first, count, &address, &size);

		if (error == -ENOENT)
			continue;
		if (!error)
			error = guest_pageout(vm->process[i].pidfd, address, size);
		if (error)
			return error;
	}
	return 0;
}
