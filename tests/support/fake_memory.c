/* SPDX-License-Identifier: Apache-2.0 */
/* io/guest.h: memfds and what processes map of them; and what a VMM does to both. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/guest.h"
#include "tests/support/fake_audit.h"
#include "tests/support/fake_priv.h"

#define SCRAMBLE 0xa7

int fake_memfd(uint64_t pages)
{
	struct fake_memfd *memfd = &world.memfd[world.memfd_count++];
	const int fd = fake_descriptor();

	ASSERT(world.memfd_count <= MEMFDS_MAX);
	ASSERT(world.process_count == 0);
	memfd->inode = fake_inode(fd);
	memfd->pages = pages;
	memfd->memory = mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	memfd->page = calloc(pages, sizeof(*memfd->page));
	ASSERT(memfd->memory != MAP_FAILED);
	ASSERT(memfd->page != NULL);
	return fd;
}

struct fake_memfd *fake_memfd_of(int fd)
{
	const uint64_t inode = fake_inode(fd);

	for (uint32_t i = 0; i < world.memfd_count; i++)
		if (world.memfd[i].inode == inode)
			return &world.memfd[i];
	fake_fail("descriptor %d is no memfd", fd);
}

const uint8_t *fake_content(const struct fake_memfd *memfd, uint64_t page)
{
	ASSERT(page < memfd->pages);
	return memfd->memory + page * PAGE_BYTES;
}

uint8_t *fake_change(const struct fake_memfd *memfd, uint64_t page)
{
	ASSERT(page < memfd->pages);
	fake_keep(memfd->memory + page * PAGE_BYTES);
	return memfd->memory + page * PAGE_BYTES;
}

bool fake_find(const struct fake_process *process, uint64_t address, struct fake_place *ret_place)
{
	for (uint32_t i = 0; i < process->map_count; i++) {
		const struct fake_map *map = &process->map[i];

		if (address < map->address || address >= map->address + map->pages * PAGE_BYTES)
			continue;
		ret_place->memfd = map->memfd;
		ret_place->page = map->first + (address - map->address) / PAGE_BYTES;
		ret_place->pte = &process->pte[map->memfd - world.memfd][ret_place->page];
		return true;
	}
	return false;
}

/* As the kernel does under the page table lock: the mark of a mapped page stays as a marker. */
static void zap_pte(struct fake_pte *pte)
{
	pte->flags &= (uint8_t)~PTE_MAPPED;
}

void fake_drop(struct fake_memfd *memfd, uint64_t page)
{
	for (uint32_t i = 0; i < world.process_count; i++)
		zap_pte(&world.process[i].pte[memfd - world.memfd][page]);
	memfd->page[page].is_present = false;
	memfd->page[page].is_hollow = false;
	memfd->page[page].incarnation++;
	memset(fake_change(memfd, page), SCRAMBLE, PAGE_BYTES);
}

uint32_t fake_process(void)
{
	const uint32_t index = world.process_count++;
	struct fake_process *process = &world.process[index];

	ASSERT(index < FAKE_PROCESSES_MAX);
	process->pidfd = fake_descriptor();
	process->inode = fake_inode(process->pidfd);
	for (uint32_t i = 0; i < world.memfd_count; i++) {
		process->pte[i] = calloc(world.memfd[i].pages, sizeof(*process->pte[i]));
		ASSERT(process->pte[i] != NULL);
	}
	return index;
}

int fake_process_pid(uint32_t process)
{
	return (int)(1000 + process);
}

int fake_process_pidfd(uint32_t process)
{
	return world.process[process].pidfd;
}

bool fake_is_dead(uint32_t process)
{
	return world.process[process].is_dead;
}

void fake_map(uint32_t process, int memfd, uint64_t address)
{
	struct fake_process *target = &world.process[process];
	struct fake_memfd *mapped = fake_memfd_of(memfd);

	ASSERT(target->map_count < MAPS_MAX);
	target->map[target->map_count++] = (struct fake_map){
		.memfd = mapped,
		.address = address,
		.pages = mapped->pages,
	};
}

void fake_discard(int memfd, uint64_t page)
{
	struct fake_memfd *target = fake_memfd_of(memfd);
	struct fake_page *state = &target->page[page];

	fake_forget_dma(target, page);
	state->may_be_zero = true;
	if (!state->is_present)
		return;
	fake_drop(target, page);
	memset(fake_change(target, page), 0, PAGE_BYTES);
}

void fake_stranger(int memfd, uint64_t page)
{
	struct fake_memfd *target = fake_memfd_of(memfd);

	ASSERT(!target->page[page].is_present);
	target->page[page].is_present = true;
	memset(fake_change(target, page), 0, PAGE_BYTES);
}

/* By mincore(2) and lseek(2): tests/kernel/test_allocated_page_is_unseen.c. */
static bool is_seen(const struct fake_page *page)
{
	return page->is_present && !page->is_hollow;
}

bool fake_is_present(int memfd, uint64_t page)
{
	return fake_memfd_of(memfd)->page[page].is_present;
}

bool fake_is_mapped(int memfd, uint64_t page)
{
	const ptrdiff_t index = fake_memfd_of(memfd) - world.memfd;

	for (uint32_t i = 0; i < world.process_count; i++)
		if (world.process[i].pte[index][page].flags & PTE_MAPPED)
			return true;
	return false;
}

const uint8_t *fake_page_content(int memfd, uint64_t page)
{
	return fake_content(fake_memfd_of(memfd), page);
}

bool fake_is_registered(uint32_t process, uint64_t address)
{
	struct fake_place place;

	return fake_find(&world.process[process], address, &place) &&
	       (place.pte->flags & PTE_REGISTERED) != 0;
}

bool fake_is_poisoned(uint32_t process, uint64_t address)
{
	struct fake_place place;

	return fake_find(&world.process[process], address, &place) &&
	       (place.pte->flags & PTE_POISONED) != 0;
}

int guest_alias_map(int memfd, uint64_t offset, uint64_t size_bytes, uint8_t **ret_alias)
{
	const struct fake_memfd *target = fake_memfd_of(memfd);

	if (offset + size_bytes > target->pages * PAGE_BYTES)
		return -EINVAL;
	*ret_alias = target->memory + offset;
	return 0;
}

void guest_alias_unmap(uint8_t *alias, uint64_t size_bytes)
{
	(void)alias;
	(void)size_bytes;
}

int guest_next_data(
	int memfd, uint64_t offset, uint64_t end, uint64_t *ret_start, uint64_t *ret_end)
{
	const struct fake_memfd *target = fake_memfd_of(memfd);
	const uint64_t stop = MIN(end / PAGE_BYTES, target->pages);
	uint64_t page = offset / PAGE_BYTES;
	uint32_t how;

	fake_schedule();
	if (fake_fails(FAKE_SEEK, 1, &how))
		return -EIO;
	while (page < stop && !is_seen(&target->page[page]))
		page++;
	if (page == stop)
		return -ENXIO;
	*ret_start = page * PAGE_BYTES;
	while (ret_end && page < stop && is_seen(&target->page[page]))
		page++;
	if (ret_end)
		*ret_end = page * PAGE_BYTES;
	return 0;
}

static const struct fake_memfd *memfd_of_alias(const uint8_t *alias)
{
	for (uint32_t i = 0; i < world.memfd_count; i++) {
		const struct fake_memfd *memfd = &world.memfd[i];

		if (alias >= memfd->memory && alias < memfd->memory + memfd->pages * PAGE_BYTES)
			return memfd;
	}
	fake_fail("%p is in no alias", (const void *)alias);
}

/* Of a chunk when it was read; of one page when it was written, and a hole is none from then on. */
void guest_alias_drop(uint8_t *alias, uint64_t size_bytes)
{
	const struct fake_memfd *target = memfd_of_alias(alias);

	ASSERT((uintptr_t)alias % PAGE_BYTES == 0);
	ASSERT(size_bytes % PAGE_BYTES == 0);
	if (size_bytes != PAGE_BYTES)
		return;
	target->page[(uint64_t)(alias - target->memory) / PAGE_BYTES].is_present = true;
	target->page[(uint64_t)(alias - target->memory) / PAGE_BYTES].is_hollow = false;
}

int guest_cached(const uint8_t *alias, uint32_t pages, uint64_t *ret_cached)
{
	const struct fake_memfd *target = memfd_of_alias(alias);
	const uint64_t first = (uint64_t)(alias - target->memory) / PAGE_BYTES;
	uint32_t how;

	ASSERT(pages > 0 && pages <= CHUNK_PAGES);
	ASSERT(first + pages <= target->pages);
	fake_schedule();
	if (fake_fails(FAKE_SEEK, 1, &how))
		return -EAGAIN;
	memset(ret_cached, 0, BITMAP_WORDS(pages) * sizeof(*ret_cached));
	for (uint32_t i = 0; i < pages; i++)
		if (is_seen(&target->page[first + i]))
			bit_set(ret_cached, i);
	fake_schedule();
	return 0;
}

int guest_punch(int memfd, uint64_t offset, uint64_t size_bytes)
{
	struct fake_memfd *target = fake_memfd_of(memfd);
	uint32_t how;

	fake_schedule();
	if (fake_fails(FAKE_PUNCH, 1, &how))
		return -EIO;
	for (uint64_t at = offset; at < offset + size_bytes; at += PAGE_BYTES)
		fake_drop(target, at / PAGE_BYTES);
	return 0;
}

int guest_cached_bytes(int memfd, uint64_t *ret_bytes)
{
	const struct fake_memfd *target = fake_memfd_of(memfd);
	uint64_t count = 0;

	for (uint64_t page = 0; page < target->pages; page++)
		count += target->page[page].is_present;
	*ret_bytes = count * PAGE_BYTES;
	return 0;
}

/* A descriptor of its own whose offset names the process. */
int guest_pagemap_open(int pid)
{
	const int fd = fake_descriptor();

	*fake_fd_value(fd) = (uint64_t)pid;
	return fd;
}

static struct fake_process *process_of_pagemap(int fd)
{
	const uint64_t pid = *fake_fd_value(fd);

	ASSERT(pid >= 1000);
	ASSERT(pid < 1000 + world.process_count);
	return &world.process[pid - 1000];
}

static int scan(int pagemap_fd, uint64_t address, uint32_t pages, uint64_t *bitmap, bool is_marked)
{
	const struct fake_process *process = process_of_pagemap(pagemap_fd);
	struct fake_place place;

	fake_schedule();
	if (process->is_dead)
		return -ESRCH;
	memset(bitmap, 0, BITMAP_WORDS((size_t)pages) * sizeof(*bitmap));
	for (uint32_t i = 0; i < pages; i++) {
		if (!fake_find(process, address + i * PAGE_BYTES, &place))
			continue;
		if (is_marked && (place.pte->flags & (PTE_MAPPED | PTE_ARMED)) == PTE_ARMED)
			bit_set(bitmap, i);
		if (!is_marked && place.pte->flags & PTE_MAPPED)
			bit_set(bitmap, i);
	}
	fake_schedule();
	return 0;
}

void fake_scan_unwritten(uint32_t process, uint64_t address, uint32_t pages, uint64_t *ret_bits)
{
	struct fake_place place;

	memset(ret_bits, 0, BITMAP_WORDS((size_t)pages) * sizeof(*ret_bits));
	for (uint32_t i = 0; i < pages; i++)
		if (fake_find(&world.process[process], address + i * PAGE_BYTES, &place) &&
			place.pte->flags & PTE_ARMED)
			bit_set(ret_bits, i);
}

int guest_scan_marked(int pagemap_fd, uint64_t address, uint32_t pages, uint64_t *ret_marked)
{
	return scan(pagemap_fd, address, pages, ret_marked, true);
}

int guest_scan_present(int pagemap_fd, uint64_t address, uint32_t pages, uint64_t *ret_present)
{
	return scan(pagemap_fd, address, pages, ret_present, false);
}

/* A zap that misses a page now and then, as the kernel's does. */
int guest_pageout(int pidfd, uint64_t address, uint64_t size_bytes)
{
	const uint64_t inode = fake_inode(pidfd);
	struct fake_place place;

	for (uint32_t i = 0; i < world.process_count; i++) {
		const struct fake_process *process = &world.process[i];

		if (process->inode != inode)
			continue;
		if (process->is_dead)
			return -ESRCH;
		for (uint64_t at = address; at < address + size_bytes; at += PAGE_BYTES) {
			if (fake_find(process, at, &place) && !fake_one_in(16))
				zap_pte(place.pte);
			if (fake_one_in(64))
				fake_schedule();
		}
		return 0;
	}
	return -ESRCH;
}
