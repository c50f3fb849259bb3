/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cipher.h"
#include "engine/command.h"
#include "engine/engine_priv.h"
#include "engine/layout.h"
#include "io/cut.h"
#include "io/guest.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

const struct region *vm_region_of_chunk(const struct vm *vm, uint32_t chunk)
{
	ASSERT(chunk < vm->chunk_count);
	for (uint32_t i = 0; i < vm->region_count; i++) {
		const struct region *region = &vm->region[i];

		if (chunk - region->first_chunk < region->chunk_count)
			return region;
	}
	UNREACHABLE();
}

uint32_t vm_chunk_pages(const struct vm *vm, uint32_t chunk)
{
	const struct region *region = vm_region_of_chunk(vm, chunk);
	const uint64_t from = (uint64_t)(chunk - region->first_chunk) * CHUNK_BYTES;

	return (uint32_t)(MIN(region->size_bytes - from, CHUNK_BYTES) / PAGE_BYTES);
}

/* Bytes from the beginning of the page's region. */
static uint64_t region_offset(const struct region *region, uint64_t page)
{
	return (page - (uint64_t)region->first_chunk * CHUNK_PAGES) * PAGE_BYTES;
}

uint64_t vm_file_offset(const struct vm *vm, uint64_t page)
{
	const struct region *region = vm_region_of_chunk(vm, (uint32_t)(page / CHUNK_PAGES));

	return region->file_offset + region_offset(region, page);
}

uint8_t *vm_alias(const struct vm *vm, uint64_t page)
{
	const struct region *region = vm_region_of_chunk(vm, (uint32_t)(page / CHUNK_PAGES));

	return region->alias + region_offset(region, page);
}

uint8_t *vm_watch(const struct vm *vm, uint64_t page)
{
	uint8_t *alias = vm_alias(vm, page);

	cut_watch(alias);
	return alias;
}

bool vm_is_cut(const struct vm *vm, uint64_t page)
{
	const struct region *region = vm_region_of_chunk(vm, (uint32_t)(page / CHUNK_PAGES));

	return cut_is_hit(region->memfd, region->file_offset + region_offset(region, page));
}

bool vm_chunk_has_work(const struct vm *vm, uint32_t chunk, enum chunk_op op)
{
	const struct chunk_summary *summary = &vm->table.chunks[chunk];
	const uint32_t staged = atomic_load_explicit(&summary->staged, memory_order_relaxed);

	switch (op) {
	case CHUNK_STAGE: return true;
	case CHUNK_SETTLE: return chunk_is_zapped(summary);
	case CHUNK_UNSTAGE:
	case CHUNK_TRIM:
	case CHUNK_OUT: return staged > 0;
	case CHUNK_GUARD:
	case CHUNK_IN:
	case CHUNK_IN_OR_POISON:
		return atomic_load_explicit(&summary->out, memory_order_relaxed) > 0;
	case CHUNK_SCRUB: return atomic_load_explicit(&summary->slots, memory_order_relaxed) > 0;
	case CHUNK_RELEASE:
		return staged > 0 ||
		       atomic_load_explicit(&summary->slots, memory_order_relaxed) > 0;
	case CHUNK_FORGET: return true;
	}
	return false;
}

static int region_open(struct region *region, const struct region_spec *spec, uint32_t first_chunk)
{
	if (spec->size_bytes == 0 || spec->size_bytes % PAGE_BYTES != 0 ||
		spec->file_offset % PAGE_BYTES != 0)
		return -EINVAL;
	region->file_offset = spec->file_offset;
	region->size_bytes = spec->size_bytes;
	region->first_chunk = first_chunk;
	region->chunk_count = (uint32_t)divide_up(spec->size_bytes, CHUNK_BYTES);
	region->memfd = errno_of(fcntl(spec->memfd, F_DUPFD_CLOEXEC, 3)); /* @control fcntl */
	if (region->memfd < 0)
		return region->memfd;
	return guest_alias_map(region->memfd, spec->file_offset, spec->size_bytes, &region->alias);
}

static int regions_open(struct vm *vm, const struct vm_config *config)
{
	for (uint32_t i = 0; i < config->region_count; i++) {
		struct region *region = &vm->region[i];
		int error;

		vm->region_count++;
		error = region_open(region, &config->regions[i], vm->chunk_count);
		if (error)
			return error;
		vm->chunk_count += region->chunk_count;
		vm->pages += region->size_bytes / PAGE_BYTES;
	}
	return 0;
}

static void *allocate_lines(size_t count, size_t size)
{
	const size_t bytes = (count * size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	void *memory = aligned_alloc(CACHE_LINE, bytes);

	if (memory)
		memset(memory, 0, bytes);
	return memory;
}

/* What vm_dispatch() and its like need. */
static int open_commands(struct vm *vm)
{
	const size_t count = (size_t)vm->shard_count * DISPATCH_IN_FLIGHT;

	vm->command = calloc(count, sizeof(*vm->command));
	vm->free_command = calloc(count, sizeof(*vm->free_command));
	if (!vm->command || !vm->free_command)
		return -ENOMEM;
	return replies_lend(&vm->engine->replies, &vm->reply);
}

static int open_header(struct vm *vm)
{
	const int error = shared_open("vmswap-vm", sizeof(struct vm_header), &vm->header);

	if (error)
		return error;
	*(struct vm_header *)vm->header.memory = (struct vm_header){
		.magic = LAYOUT_VM_MAGIC,
		.layout = LAYOUT_VERSION,
		.shard_count = vm->shard_count,
		.page_count = (uint64_t)vm->chunk_count * CHUNK_PAGES,
		.stripe_chunks = vm->stripe_chunks,
	};
	return 0;
}

static int adopt_header(struct vm *vm, int fd)
{
	const struct vm_header *header;
	const int error = shared_adopt(fd, sizeof(*header), &vm->header);

	if (error)
		return error;
	header = vm->header.memory;
	if (header->magic != LAYOUT_VM_MAGIC || header->layout != LAYOUT_VERSION ||
		header->shard_count != vm->shard_count ||
		header->page_count != (uint64_t)vm->chunk_count * CHUNK_PAGES ||
		header->stripe_chunks != vm->stripe_chunks)
		return -ESTALE;
	return 0;
}

static int adopt_tables(struct vm *vm, const int *parts)
{
	const int tables[] = {parts[VM_WORDS], parts[VM_DIGESTS], parts[VM_CHUNKS]};
	const int error = adopt_header(vm, parts[VM_HEADER]);

	return error ? error
		     : page_table_adopt(
			       (uint64_t)vm->chunk_count * CHUNK_PAGES, tables, &vm->table);
}

/* @parts NULL: a new VM. */
static int open_tables(struct vm *vm, const int *parts)
{
	const uint32_t stripes = vm->shard_count > 1 ? STRIPES_PER_SHARD * vm->shard_count : 1;

	vm->stripe_chunks = (uint32_t)MAX(divide_up(vm->chunk_count, stripes), 1);
	vm->stats = allocate_lines(vm->shard_count, sizeof(*vm->stats));
	vm->shard = allocate_lines(vm->shard_count, sizeof(*vm->shard));
	if (!vm->stats || !vm->shard)
		return -ENOMEM;
	for (uint32_t i = 0; i < vm->shard_count; i++)
		vm->shard[i].is_plain = vm->engine->is_plain;
	/* Every page begins EMPTY; which shard's gauge says so does not matter to the sum. */
	atomic_store(&vm->stats[0].gauge[GAUGE_ZERO], (int64_t)vm->pages);
	if (parts)
		return adopt_tables(vm, parts);
	const int error = open_header(vm);

	return error ? error : page_table_open((uint64_t)vm->chunk_count * CHUNK_PAGES, &vm->table);
}

/* A cipher a shard, all with the VM's key. Each VM has one, so that all have the same parts. */
static int open_ciphers(struct vm *vm, const int *parts)
{
	int error = parts ? cipher_key_adopt(parts[VM_KEY], &vm->key_memory)
			  : cipher_key_make(&vm->key_memory);

	if (!vm->engine->is_encrypted)
		return error;
	for (uint32_t i = 0; i < vm->shard_count && !error; i++)
		error = cipher_new(vm->key_memory.memory, &vm->shard[i].cipher);
	return error;
}

static void close_ciphers(struct vm *vm)
{
	for (uint32_t i = 0; vm->shard && i < vm->shard_count; i++)
		cipher_free(vm->shard[i].cipher);
	shared_close(&vm->key_memory);
}

static void vm_destroy(struct vm *vm)
{
	page_table_close(&vm->table);
	close_ciphers(vm);
	shared_close(&vm->header);
	for (uint32_t i = 0; i < vm->region_count; i++) {
		if (vm->region[i].alias)
			guest_alias_unmap(vm->region[i].alias, vm->region[i].size_bytes);
		close_fd(vm->region[i].memfd); /* @control close */
	}
	replies_take_back(&vm->engine->replies, vm->reply);
	free(vm->free_command);
	free(vm->command);
	free(vm->stats);
	free(vm->shard);
	free(vm);
}

int vm_new(struct engine *engine, const struct vm_config *config, struct vm **ret_vm)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int error;

	if (!vm)
		return -ENOMEM;
	if (config->region_count == 0 || config->region_count > REGIONS_MAX) {
		free(vm);
		return -EINVAL;
	}
	vm->engine = engine;
	vm->shard_count = engine->shard_count;
	vm->trust_discard = config->trust_discard;
	vm->verify_clean = config->verify_clean;
	atomic_store(&vm->dwell_ms, config->dwell_ms);
	for (uint32_t i = 0; i < REGIONS_MAX; i++)
		vm->region[i].memfd = -1;
	error = regions_open(vm, config);
	if (!error)
		error = open_tables(vm, config->parts);
	if (!error)
		error = open_ciphers(vm, config->parts);
	if (!error)
		error = open_commands(vm);
	if (error) {
		vm_destroy(vm);
		return error;
	}
	*ret_vm = vm;
	return 0;
}

void vm_free(struct vm *vm)
{
	struct dispatch_result result;

	if (!vm)
		return;
	ASSERT(vm->process_count == 0);
	ASSERT(!vm_is_registered(vm));
	(void)vm_dispatch(vm, CHUNK_FORGET, NULL, NULL, &result);
	recorder_discard(vm);
	/* For good: what the store still holds of it cannot be read any more. */
	cipher_key_forget(&vm->key_memory);
	vm_destroy(vm);
}

uint64_t vm_pages(const struct vm *vm)
{
	return vm->pages;
}

uint32_t vm_chunk_count(const struct vm *vm)
{
	return vm->chunk_count;
}

void vm_parts(const struct vm *vm, int ret_fds[VM_PARTS])
{
	ret_fds[VM_WORDS] = vm->table.words_memory.fd;
	ret_fds[VM_DIGESTS] = vm->table.digests_memory.fd;
	ret_fds[VM_CHUNKS] = vm->table.chunks_memory.fd;
	ret_fds[VM_HEADER] = vm->header.fd;
	ret_fds[VM_KEY] = vm->key_memory.fd;
}

/* The tables are sparse memfds: what was never written does not exist. */
uint64_t vm_metadata_bytes(const struct vm *vm)
{
	const int fds[] = {
		vm->table.words_memory.fd,
		vm->table.digests_memory.fd,
		vm->table.chunks_memory.fd,
	};
	uint64_t sum = 0;

	for (uint32_t i = 0; i < ARRAY_SIZE(fds); i++) {
		uint64_t bytes;

		if (guest_cached_bytes(fds[i], &bytes) == 0)
			sum += bytes;
	}
	return sum;
}

struct copy_record *vm_copy_record(const struct vm *vm, uint32_t shard)
{
	struct vm_header *header = vm->header.memory;

	ASSERT(shard < vm->shard_count);
	return &header->copying[shard];
}

uint64_t vm_metadata_max_bytes(const struct vm *vm)
{
	return vm->table.words_memory.size_bytes + vm->table.digests_memory.size_bytes +
	       vm->table.chunks_memory.size_bytes;
}

void vm_set_dwell(struct vm *vm, uint32_t dwell_ms)
{
	atomic_store_explicit(&vm->dwell_ms, dwell_ms, memory_order_relaxed);
}

bool vm_is_registered(const struct vm *vm)
{
	return atomic_load_explicit(&vm->is_registered, memory_order_acquire);
}

/* Nothing is tracked while nothing is registered; the memfds know. */
static void place_unregistered(const struct vm *vm, struct vm_stats *stats)
{
	uint64_t cached = 0;

	for (uint32_t i = 0; i < vm->region_count; i++) {
		uint64_t bytes;

		if (guest_cached_bytes(vm->region[i].memfd, &bytes) == 0)
			cached += MIN(bytes, vm->region[i].size_bytes) / PAGE_BYTES;
	}
	stats->resident_pages = MIN(cached, stats->pages);
	stats->zero_pages = stats->pages - stats->resident_pages;
	stats->staging_pages = 0;
	stats->swap_pages = 0;
}

void vm_stats_read(const struct vm *vm, struct vm_stats *ret_stats)
{
	stats_sum(vm->stats, vm->shard_count, vm->pages, ret_stats);
	if (!vm_is_registered(vm))
		place_unregistered(vm, ret_stats);
}
