/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What states mean is said in engine/page.h, what a death makes of them in engine/adopt.c. Here:
 *
 *   was       is then
 *   EMPTY, RESIDENT, STAGED, WRITING
 *             the same: the page cache has the content, or a hole, which are zeros
 *   PUNCHING  as SWAPPED and stuck: the slot is the truth. Without a slot: EMPTY
 *   SWAPPED   RESIDENT, by way of READING: slot read, opened, compared with its digest, copied in
 *             POISONED, when the content is wrong each time, or cannot be read and is given up
 *   READING   RESIDENT, if it was copied in (engine/copy_record.h): the guest may have changed it
 *             since, or given it back. Else as SWAPPED
 *
 * A page that is stuck, and one that no living process maps, is written into the file instead of
 * copied in: every mapping traps, so nobody sees it before it is whole. Until then it is marked
 * stuck, for whoever comes after a death in the middle.
 */
#include "ctl/rescue/rescue_vm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/rescue/events.h"
#include "ctl/rescue/result.h"
#include "engine/buffer.h"
#include "engine/cipher.h"
#include "engine/content.h"
#include "engine/copy_record.h"
#include "engine/layout.h"
#include "engine/page_table.h"
#include "engine/successor.h"
#include "io/guest.h"
#include "io/uffd.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Neighbours whose slots follow each other are read together; one page has a place beside them. */
#define RUN_PAGES (CHUNK_PAGES / 2)
#define ALONE	  RUN_PAGES
/* How often a call is made again when the kernel says so. */
#define AGAIN_MAX 1000u

struct rescue_vm {
	struct rescue_vm_config config;
	uint32_t first_chunk[REGIONS_MAX];
	uint32_t chunk_count;
	int store;
	struct shared engine_header;
	struct shared header;
	struct page_table table;
	struct shared key;
	struct cipher *cipher; /* NULL: what is stored is not encrypted */
	uint8_t *buffer;       /* of a chunk */
};

static struct vm_header *header_of(const struct rescue_vm *vm)
{
	return vm->header.memory;
}

static struct copy_record *record_of(const struct rescue_vm *vm, uint32_t shard)
{
	return &header_of(vm)->copying[shard];
}

static uint32_t region_of_chunk(const struct rescue_vm *vm, uint32_t chunk)
{
	uint32_t region = vm->config.region_count - 1;

	ASSERT(chunk < vm->chunk_count);
	while (chunk < vm->first_chunk[region])
		region--;
	return region;
}

static uint32_t owner_of_chunk(const struct rescue_vm *vm, uint32_t chunk)
{
	return chunk / header_of(vm)->stripe_chunks % vm->config.shard_count;
}

/* Bytes from the beginning of the chunk's region. */
static uint64_t region_offset(const struct rescue_vm *vm, uint32_t chunk)
{
	return (uint64_t)(chunk - vm->first_chunk[region_of_chunk(vm, chunk)]) * CHUNK_BYTES;
}

static uint32_t pages_of_chunk(const struct rescue_vm *vm, uint32_t chunk)
{
	const uint64_t size = vm->config.regions[region_of_chunk(vm, chunk)].size_bytes;

	return (uint32_t)(MIN(size - region_offset(vm, chunk), CHUNK_BYTES) / PAGE_BYTES);
}

static uint64_t file_offset(const struct rescue_vm *vm, uint64_t page)
{
	const uint32_t chunk = (uint32_t)(page / CHUNK_PAGES);

	return vm->config.regions[region_of_chunk(vm, chunk)].file_offset +
	       region_offset(vm, chunk) + page % CHUNK_PAGES * PAGE_BYTES;
}

static int memfd_of(const struct rescue_vm *vm, uint64_t page)
{
	return vm->config.regions[region_of_chunk(vm, (uint32_t)(page / CHUNK_PAGES))].memfd;
}

/* Where a process has the chunk; 0: nowhere. */
static uint64_t address_of(
	const struct rescue_vm *vm, const struct process_spec *process, uint32_t chunk)
{
	const uint64_t base = process->address[region_of_chunk(vm, chunk)];

	return base == 0 ? 0 : base + region_offset(vm, chunk);
}

static uint8_t *content_at(const struct rescue_vm *vm, uint32_t place)
{
	return vm->buffer + place * PAGE_BYTES;
}

/* -EEXIST when it has to be written into the file: the page is there, or nobody maps it. */
static int copy_in(const struct rescue_vm *vm, uint64_t page, const uint8_t *content)
{
	const uint32_t chunk = (uint32_t)(page / CHUNK_PAGES);
	const uint32_t shard = owner_of_chunk(vm, chunk);
	struct copy_record *record = record_of(vm, shard);

	for (uint32_t i = 0; i < vm->config.process_count; i++) {
		const struct process_spec *process = &vm->config.processes[i];
		const int uffd = process->uffds[shard];
		uint64_t address = address_of(vm, process, chunk);
		int error = address == 0 ? -ENOENT : -EAGAIN;

		address += page % CHUNK_PAGES * PAGE_BYTES;
		for (uint32_t try = 0; try < AGAIN_MAX && error == -EAGAIN; try++) {
			error = uffd_copy(uffd, &record->call, address, content, PAGE_BYTES, false);
			if (error == -EAGAIN)
				rescue_events_take(vm->config.events, process, shard);
		}
		if (error == 0 || error == -ENOMEM || error == -ENOSPC)
			return error;
	}
	return -EEXIST;
}

static int write_in(struct rescue_vm *vm, uint64_t page, const uint8_t *content)
{
	const int memfd = memfd_of(vm, page);
	const uint64_t offset = file_offset(vm, page);
	struct stat found;
	ssize_t written;

	if (fstat(memfd, &found) < 0)
		return -errno;
	/* The monitor has cut it off: nobody can touch it, and it must not grow again. */
	if (offset + PAGE_BYTES > (uint64_t)found.st_size)
		return 0;
	/* @unfiltered pwrite64 */
	written = pwrite(memfd, content, PAGE_BYTES, (off_t)offset);
	if (written < 0)
		return -errno;
	return written == (ssize_t)PAGE_BYTES ? 0 : -ENOSPC;
}

/* The content of a SWAPPED page is here. */
static void place(
	struct rescue_vm *vm, uint64_t page, const uint8_t *content, struct rescue_result *result)
{
	const page_word word = page_load(&vm->table, page);
	const uint32_t slot = page_slot_of(word);
	struct copy_record *record =
		record_of(vm, owner_of_chunk(vm, (uint32_t)(page / CHUNK_PAGES)));
	int error;

	page_put(&vm->table, page, page_with_slot(PAGE_READING, slot, word & PAGE_STUCK));
	copy_record_begin(record, page, 1);
	error = copy_in(vm, page, content);
	if (error == -EEXIST) {
		page_put(&vm->table, page, page_with_slot(PAGE_READING, slot, PAGE_STUCK));
		error = write_in(vm, page, content);
	}
	if (error == 0) {
		page_put(&vm->table, page, page_plain(PAGE_RESIDENT));
		result->pages++;
	} else {
		page_put(&vm->table, page,
			page_with_slot(
				PAGE_SWAPPED, slot, page_load(&vm->table, page) & PAGE_STUCK));
		result->left_pages++;
		result->error = error;
	}
	copy_record_end(record);
}

/* @count slots from @slot on to @first of the buffer. */
static int read_slots(struct rescue_vm *vm, uint32_t slot, uint32_t first, uint32_t count)
{
	const size_t size = count * PAGE_BYTES;
	const ssize_t got =
		pread(vm->store, content_at(vm, first), size, (off_t)((uint64_t)slot * PAGE_BYTES));

	if (got < 0)
		return -errno;
	return (size_t)got == size ? 0 : -EIO;
}

/* Decrypts what was read of @page; whether it is what was written. Once a read. */
static bool open_page(struct rescue_vm *vm, uint64_t page, uint8_t *content)
{
	const struct engine_header *engine = vm->engine_header.memory;
	const struct cipher_place place = {
		.page = page,
		.slot = page_slot_of(page_load(&vm->table, page)),
		.digest = page_digest(&vm->table, page),
	};

	if (vm->cipher)
		cipher_decrypt_page(vm->cipher, &place, content);
	return content_digest(&engine->secret, content) == place.digest;
}

/* Of the first process that maps the page; 0: none does. */
static uint64_t any_address_of(const struct rescue_vm *vm, uint64_t page)
{
	uint64_t address = 0;

	for (uint32_t i = 0; address == 0 && i < vm->config.process_count; i++)
		address = address_of(vm, &vm->config.processes[i], (uint32_t)(page / CHUNK_PAGES));
	return address == 0 ? 0 : address + page % CHUNK_PAGES * PAGE_BYTES;
}

static void lose(struct rescue_vm *vm, uint64_t page, struct rescue_result *result)
{
	const page_word word = page_load(&vm->table, page);
	const uint32_t slot = page_slot_of(word);

	page_put(&vm->table, page, page_with_slot(PAGE_READING, slot, word & PAGE_STUCK));
	page_put(&vm->table, page, page_with_slot(PAGE_POISONED, slot, 0));
	rescue_result_lose(result, page, any_address_of(vm, page));
}

/* By itself, so that one bad page does not cost its neighbours. */
static void bring_alone(struct rescue_vm *vm, uint64_t page, struct rescue_result *result)
{
	const uint32_t slot = page_slot_of(page_load(&vm->table, page));
	uint8_t *content = content_at(vm, ALONE);
	int error = 0;

	for (uint32_t try = 0; try < READ_TRIES_MAX; try++) {
		error = read_slots(vm, slot, ALONE, 1);
		if (error == 0 && open_page(vm, page, content)) {
			place(vm, page, content, result);
			return;
		}
	}
	if (error == 0 || vm->config.poisons_unread) {
		lose(vm, page, result);
		return;
	}
	result->unread_pages++;
	result->error = error;
}

static void bring_run(
	struct rescue_vm *vm, uint64_t first, uint32_t count, struct rescue_result *result)
{
	const uint32_t slot = page_slot_of(page_load(&vm->table, first));
	const bool is_read = read_slots(vm, slot, 0, count) == 0;

	for (uint32_t i = 0; i < count; i++) {
		if (is_read && open_page(vm, first + i, content_at(vm, i)))
			place(vm, first + i, content_at(vm, i), result);
		else
			bring_alone(vm, first + i, result);
	}
}

/* SWAPPED pages from @page on whose slots follow each other. */
static uint32_t count_run(const struct rescue_vm *vm, uint64_t page, uint64_t end)
{
	const uint32_t slot = page_slot_of(page_load(&vm->table, page));
	uint32_t count = 0;

	while (count < RUN_PAGES && page + count < end) {
		const page_word word = page_load(&vm->table, page + count);

		if (page_state_of(word) != PAGE_SWAPPED || page_slot_of(word) != slot + count)
			break;
		count++;
	}
	return count;
}

/* Afterwards the page is out and SWAPPED, or it is not out. */
static void settle(struct rescue_vm *vm, uint32_t shard, uint64_t page)
{
	const page_word word = page_load(&vm->table, page);
	const uint32_t slot = page_slot_of(word);

	if (page_state_of(word) == PAGE_PUNCHING)
		page_put(&vm->table, page,
			page_has_slot(word) ? page_with_slot(PAGE_SWAPPED, slot, PAGE_STUCK)
					    : page_plain(PAGE_EMPTY));
	else if (page_state_of(word) == PAGE_READING)
		page_put(&vm->table, page,
			copy_record_has(record_of(vm, shard), page)
				? page_plain(PAGE_RESIDENT)
				: page_with_slot(PAGE_SWAPPED, slot, word & PAGE_STUCK));
}

/* What the dead were doing, of all pages, before the records serve for what we do. */
static int settle_all(struct rescue_vm *vm)
{
	uint32_t chunk = 0;
	int error;

	for (; (error = rescue_vm_next_chunk(vm, chunk, &chunk)) == 0; chunk++)
		for (uint32_t i = 0; i < pages_of_chunk(vm, chunk); i++)
			settle(vm, owner_of_chunk(vm, chunk), (uint64_t)chunk * CHUNK_PAGES + i);
	if (error != -ENXIO)
		return error;
	for (uint32_t i = 0; i < vm->config.shard_count; i++)
		copy_record_end(record_of(vm, i));
	return 0;
}

void rescue_vm_chunk(struct rescue_vm *vm, uint32_t chunk, struct rescue_result *result)
{
	const uint64_t end = (uint64_t)chunk * CHUNK_PAGES + pages_of_chunk(vm, chunk);

	for (uint64_t page = (uint64_t)chunk * CHUNK_PAGES; page < end;) {
		const uint32_t count = count_run(vm, page, end);

		if (count > 0)
			bring_run(vm, page, count, result);
		page += MAX(count, 1u);
	}
}

int rescue_vm_next_chunk(const struct rescue_vm *vm, uint32_t from, uint32_t *ret_chunk)
{
	uint64_t start;
	uint64_t end;
	int error;

	/* Nothing is tracked while nothing is registered. */
	if (!atomic_load(&header_of(vm)->is_registered))
		return -ENXIO;
	/* One page of words is one chunk. */
	error = shared_next_data(&vm->table.words_memory, from * PAGE_BYTES, &start, &end);
	if (error)
		return error;
	*ret_chunk = (uint32_t)(start / PAGE_BYTES);
	return 0;
}

static uint32_t count_out(const struct rescue_vm *vm, uint32_t chunk)
{
	const uint64_t first = (uint64_t)chunk * CHUNK_PAGES;
	uint32_t count = 0;

	for (uint32_t i = 0; i < pages_of_chunk(vm, chunk); i++)
		count += page_state_of(page_load(&vm->table, first + i)) == PAGE_SWAPPED;
	return count;
}

uint64_t rescue_vm_pages_out(const struct rescue_vm *vm)
{
	uint64_t count = 0;

	for (uint32_t chunk = 0; rescue_vm_next_chunk(vm, chunk, &chunk) == 0; chunk++)
		count += count_out(vm, chunk);
	return count;
}

static int poison(const struct rescue_vm *vm, uint64_t page)
{
	const uint32_t chunk = (uint32_t)(page / CHUNK_PAGES);
	const uint32_t shard = owner_of_chunk(vm, chunk);

	for (uint32_t i = 0; i < vm->config.process_count; i++) {
		const struct process_spec *process = &vm->config.processes[i];
		const int uffd = process->uffds[shard];
		uint64_t address = address_of(vm, process, chunk);
		int error = address == 0 ? 0 : -EAGAIN;
		uint64_t done;

		address += page % CHUNK_PAGES * PAGE_BYTES;
		for (uint32_t try = 0; try < AGAIN_MAX && error == -EAGAIN; try++) {
			error = uffd_poison(uffd, address, PAGE_BYTES, &done);
			if (error == -EAGAIN)
				rescue_events_take(vm->config.events, process, shard);
		}
		if (error && error != -EEXIST && error != -ESRCH && error != -ENOENT)
			return -EOPNOTSUPP;
	}
	return 0;
}

static int check_chunk_is_in(const struct rescue_vm *vm, uint32_t chunk)
{
	return count_out(vm, chunk) > 0 ? -EBUSY : 0;
}

static int poison_chunk(const struct rescue_vm *vm, uint32_t chunk)
{
	const uint64_t first = (uint64_t)chunk * CHUNK_PAGES;
	int error = 0;

	for (uint32_t i = 0; error == 0 && i < pages_of_chunk(vm, chunk); i++)
		if (page_state_of(page_load(&vm->table, first + i)) == PAGE_POISONED)
			error = poison(vm, first + i);
	return error;
}

/* @check of every chunk that a page may be out of, until one fails. */
static int each_chunk(
	const struct rescue_vm *vm, int (*check)(const struct rescue_vm *vm, uint32_t chunk))
{
	uint32_t chunk = 0;
	int error;

	for (; (error = rescue_vm_next_chunk(vm, chunk, &chunk)) == 0; chunk++) {
		error = check(vm, chunk);
		if (error)
			return error;
	}
	return error == -ENXIO ? 0 : error;
}

/* From @chunk to the end of its stripe or region: one registration. */
static uint32_t count_piece(const struct rescue_vm *vm, uint32_t chunk)
{
	const uint32_t stripe_chunks = header_of(vm)->stripe_chunks;
	const uint32_t region = region_of_chunk(vm, chunk);
	const uint32_t stripe_end = (chunk / stripe_chunks + 1) * stripe_chunks;
	const uint32_t region_end = region + 1 < vm->config.region_count
					    ? vm->first_chunk[region + 1]
					    : vm->chunk_count;

	return MIN(stripe_end, region_end) - chunk;
}

/* It fails where a process is dead or has unmapped the range: then there is nothing to do. */
static void unregister(const struct rescue_vm *vm, const struct process_spec *process)
{
	for (uint32_t chunk = 0; chunk < vm->chunk_count;) {
		const uint32_t count = count_piece(vm, chunk);
		const uint64_t address = address_of(vm, process, chunk);
		const uint64_t size = (uint64_t)(count - 1) * CHUNK_BYTES +
				      pages_of_chunk(vm, chunk + count - 1) * PAGE_BYTES;

		if (address != 0)
			(void)uffd_unregister(
				process->uffds[owner_of_chunk(vm, chunk)], address, size);
		chunk += count;
	}
}

int rescue_vm_release(struct rescue_vm *vm)
{
	int error = each_chunk(vm, check_chunk_is_in);

	if (!error)
		error = each_chunk(vm, poison_chunk);
	if (error)
		return error;
	for (uint32_t i = 0; i < vm->config.process_count; i++)
		unregister(vm, &vm->config.processes[i]);
	rescue_events_drain(vm->config.events, vm->config.processes, vm->config.process_count,
		vm->config.shard_count);
	atomic_store(&header_of(vm)->is_registered, false);
	cipher_key_forget(&vm->key);
	return 0;
}

static int open_engine(struct rescue_vm *vm)
{
	const int *parts = vm->config.engine_parts;
	const struct engine_header *header;
	const int error = shared_adopt(parts[ENGINE_HEADER], sizeof(*header), &vm->engine_header);

	if (error)
		return error == -EINVAL ? -ESTALE : error;
	header = vm->engine_header.memory;
	vm->store = parts[ENGINE_STORE];
	return header->magic == LAYOUT_ENGINE_MAGIC && header->layout == LAYOUT_VERSION &&
			       header->shard_count == vm->config.shard_count
		       ? 0
		       : -ESTALE;
}

static int open_header(struct rescue_vm *vm)
{
	const struct vm_header *header;
	const int error =
		shared_adopt(vm->config.vm_parts[VM_HEADER], sizeof(struct vm_header), &vm->header);

	if (error)
		return error == -EINVAL ? -ESTALE : error;
	header = header_of(vm);
	return header->magic == LAYOUT_VM_MAGIC && header->layout == LAYOUT_VERSION &&
			       header->shard_count == vm->config.shard_count &&
			       header->page_count == (uint64_t)vm->chunk_count * CHUNK_PAGES &&
			       header->stripe_chunks > 0
		       ? 0
		       : -ESTALE;
}

static int open_key(struct rescue_vm *vm)
{
	const struct engine_header *engine = vm->engine_header.memory;
	const int error = cipher_key_adopt(vm->config.vm_parts[VM_KEY], &vm->key);

	return error || !engine->is_encrypted ? error : cipher_new(vm->key.memory, &vm->cipher);
}

static int check_words(const struct rescue_vm *vm, uint32_t chunk)
{
	const uint64_t first = (uint64_t)chunk * CHUNK_PAGES;

	for (uint32_t i = 0; i < CHUNK_PAGES; i++)
		if (!page_word_is_valid(page_load(&vm->table, first + i)))
			return -EBADMSG;
	return 0;
}

static int open_parts(struct rescue_vm *vm)
{
	const int *parts = vm->config.vm_parts;
	const int tables[] = {parts[VM_WORDS], parts[VM_DIGESTS], parts[VM_CHUNKS]};
	int error = open_engine(vm);

	if (!error)
		error = open_header(vm);
	if (!error)
		error = page_table_adopt(
			(uint64_t)vm->chunk_count * CHUNK_PAGES, tables, &vm->table);
	if (!error)
		error = open_key(vm);
	if (!error)
		error = each_chunk(vm, check_words);
	if (!error && !(vm->buffer = buffer_map(CHUNK_BYTES)))
		error = -ENOMEM;
	return error ? error : settle_all(vm);
}

int rescue_vm_open(const struct rescue_vm_config *config, struct rescue_vm **ret_vm)
{
	struct rescue_vm *vm;
	int error;

	ASSERT(config->region_count <= REGIONS_MAX);
	if (config->region_count == 0)
		return -EBADMSG;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->config = *config;
	for (uint32_t i = 0; i < config->region_count; i++) {
		vm->first_chunk[i] = vm->chunk_count;
		vm->chunk_count += (uint32_t)divide_up(config->regions[i].size_bytes, CHUNK_BYTES);
	}
	error = open_parts(vm);
	if (error) {
		rescue_vm_close(vm);
		return error;
	}
	*ret_vm = vm;
	return 0;
}

void rescue_vm_close(struct rescue_vm *vm)
{
	if (!vm)
		return;
	buffer_unmap(vm->buffer, CHUNK_BYTES);
	cipher_free(vm->cipher);
	shared_close(&vm->key);
	page_table_close(&vm->table);
	shared_close(&vm->header);
	shared_close(&vm->engine_header);
	free(vm);
}
