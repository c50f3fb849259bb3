/* SPDX-License-Identifier: Apache-2.0 */
/* engine/vm.c is included whole: a VM that was never resumed ends the daemon, and here goes. */
#include "found.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/vm.c" /* NOLINT(bugprone-suspicious-include) */

#define STORE_BYTES  (2 * CHUNK_BYTES)
#define SLOTS	     ((uint32_t)(STORE_BYTES / PAGE_BYTES))
#define BUFFER_BYTES (64u * MIB)

struct found found[FOUND_PARTS];
static int store_fd = -1;

/* The linker puts them in the way of every caller (--wrap): the buffers of a shard take longer to
 * make than all the rest. */
uint8_t *__wrap_buffer_map(uint64_t size_bytes);
void __wrap_buffer_unmap(uint8_t *buffer, uint64_t size_bytes);

uint8_t *__wrap_buffer_map(uint64_t size_bytes)
{
	static uint8_t *memory;

	if (!memory)
		memory = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT(memory != MAP_FAILED);
	ASSERT(size_bytes <= BUFFER_BYTES);
	return memory;
}

void __wrap_buffer_unmap(uint8_t *buffer, uint64_t size_bytes)
{
	(void)buffer;
	(void)size_bytes;
}

void found_keep(enum found_part part, int fd)
{
	struct found *kept = &found[part];
	struct stat status;
	ssize_t got;
	int rc = fstat(fd, &status);

	ASSERT(rc == 0);
	kept->size_bytes = (size_t)status.st_size;
	kept->good = calloc(1, kept->size_bytes);
	kept->fd = memfd_create("fuzz-found", MFD_CLOEXEC);
	ASSERT(kept->good != NULL);
	ASSERT(kept->fd >= 0);
	got = pread(fd, kept->good, kept->size_bytes, 0);
	ASSERT(got == status.st_size);
	rc = ftruncate(kept->fd, status.st_size);
	ASSERT(rc == 0);
}

/*
 * Pages of every state, those that have a slot with one of their own: page and slot N are in chunk
 * and group of the same shard.
 */
static void fill_tables(void)
{
	uint64_t *words = (uint64_t *)(void *)found[FOUND_WORDS].good;
	uint64_t *taken = (uint64_t *)(void *)found[FOUND_SLOTS].good;
	/* Behind the two bitmaps. */
	uint8_t *touched = found[FOUND_SLOTS].good + 2 * SLOTS / 8;

	for (uint32_t page = 0; page < FOUND_GUEST_PAGES; page += 7) {
		const enum page_state state = (enum page_state)(page / 7 % PAGE_STATES);

		if (state == PAGE_EMPTY || state == PAGE_RESIDENT) {
			words[page] = page_plain(state);
			continue;
		}
		words[page] = page_with_slot(state, page, 0);
		bit_set(taken, page);
	}
	bit_set(taken, SLOTS - 1); /* of a write that was under way */
	memset(touched, 1, SLOTS / CHUNK_PAGES);
}

void found_start(int guest_fd)
{
	const struct engine_config config = {
		.shard_count = FOUND_SHARDS,
		.store = {.kind = SWAPFILE_UNNAMED, .path = ".", .limit_bytes = STORE_BYTES},
	};
	const struct region_spec region = {
		.memfd = guest_fd,
		.size_bytes = FOUND_GUEST_PAGES * PAGE_BYTES,
	};
	const struct vm_config vm_config = {.regions = &region, .region_count = 1};
	struct engine *engine;
	struct vm *vm;
	int engine_fds[ENGINE_PARTS];
	int vm_fds[VM_PARTS];
	int rc = engine_new(&config, &engine);

	ASSERT(rc == 0);
	rc = vm_new(engine, &vm_config, &vm);
	ASSERT(rc == 0);
	ASSERT(engine->store.size_bytes == STORE_BYTES);
	engine_parts(engine, engine_fds);
	vm_parts(vm, vm_fds);
	found_keep(FOUND_SLOTS, engine_fds[ENGINE_SLOT_MAP]);
	found_keep(FOUND_ENGINE, engine_fds[ENGINE_HEADER]);
	for (uint32_t i = 0; i < VM_PARTS; i++)
		found_keep((enum found_part)(FOUND_WORDS + i), vm_fds[i]);
	store_fd = fcntl(engine_fds[ENGINE_STORE], F_DUPFD_CLOEXEC, 3);
	ASSERT(store_fd >= 0);
	vm_free(vm);
	engine_stop(engine);
	fill_tables();
}

int found_open(struct engine **ret_engine)
{
	const int parts[ENGINE_PARTS] = {
		[ENGINE_STORE] = store_fd,
		[ENGINE_SLOT_MAP] = found[FOUND_SLOTS].fd,
		[ENGINE_HEADER] = found[FOUND_ENGINE].fd,
	};
	const struct engine_config config = {.shard_count = 2, .parts = parts};

	return engine_new(&config, ret_engine);
}

int found_resume(struct engine *engine, struct vm *vm)
{
	const int rc = engine_resume(engine, &vm, 1);

	if (rc < 0)
		vm_destroy(vm);
	return rc;
}

void found_use(struct engine *engine, struct vm *vm)
{
	const struct chunk_range all = {0, vm->chunk_count, NULL};
	struct dispatch_result result;
	struct page_count count;

	(void)engine_settle(engine);
	page_table_check(&vm->table, &count);
	ASSERT(engine_store_used_bytes(engine) == count.slots * PAGE_BYTES);
	(void)vm_dispatch(vm, CHUNK_RELEASE, &all, NULL, &result);
	if (vm_is_registered(vm))
		(void)vm_unregister(vm);
	for (uint32_t i = 0; i < PROCESSES_MAX; i++)
		if (vm->process[i].is_used)
			vm_process_remove(vm, i);
	vm_free(vm);
	ASSERT(engine_store_used_bytes(engine) == 0);
}
