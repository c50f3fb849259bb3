/* SPDX-License-Identifier: Apache-2.0 */
/* io/swapfile.h and io/shared.h: a disk in memory that can go bad, and plain memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/shared.h"
#include "io/swapfile.h"
#include "queue/base/err.h"
#include "tests/support/fake_crash.h"
#include "tests/support/fake_priv.h"

/* The engine gives a page up after as many failed reads (READ_TRIES_MAX). */
#define READS_THAT_LOSE 3u

static void *map_memory(uint64_t size_bytes)
{
	void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int swapfile_open(const struct swapfile_config *config, struct swapfile *ret_swapfile)
{
	const uint64_t slots = world.config.disk_bytes / CHUNK_BYTES * CHUNK_PAGES;

	if (slots == 0)
		return -ENOSPC;
	ASSERT(!world.disk);
	world.disk_slots = slots;
	world.disk = map_memory(slots * PAGE_BYTES);
	world.slot = calloc(slots, sizeof(*world.slot));
	ASSERT(world.disk != NULL);
	ASSERT(world.slot != NULL);
	*ret_swapfile = (struct swapfile){
		.fd = fake_descriptor(),
		.kind = config->kind,
		.size_bytes = slots * PAGE_BYTES,
	};
	world.disk_inode = fake_inode(ret_swapfile->fd);
	return 0;
}

void swapfile_close(struct swapfile *swapfile)
{
	close_fd(swapfile->fd);
	swapfile->fd = -1;
}

/* Adopted as opened; the disk does not die with a daemon. */
int swapfile_adopt(const struct swapfile *kept, struct swapfile *ret_swapfile)
{
	ASSERT(fake_inode(kept->fd) == world.disk_inode);
	*ret_swapfile = *kept;
	ret_swapfile->fd = dup(kept->fd);
	ASSERT(ret_swapfile->fd >= 0);
	return 0;
}

bool swapfile_is_quiet(const struct swapfile *swapfile)
{
	ASSERT(fake_inode(swapfile->fd) == world.disk_inode);
	return true;
}

int swapfile_drain(const struct swapfile *swapfile, uint64_t offset)
{
	ASSERT(fake_inode(swapfile->fd) == world.disk_inode);
	ASSERT(offset / PAGE_BYTES < world.disk_slots);
	fake_drain();
	return 0;
}

/* A successor in the same process sees the same memory by its descriptor. */
int shared_open(const char *name, uint64_t size_bytes, struct shared *ret_shared)
{
	struct fake_shared *kept = &world.shared[world.shared_count++];
	const int fd = fake_descriptor();

	ASSERT(world.shared_count <= SHARED_MAX);
	*kept = (struct fake_shared){
		.inode = fake_inode(fd),
		.size_bytes = divide_up(size_bytes, PAGE_BYTES) * PAGE_BYTES,
		.is_state = strcmp(name, "vmswap-pages") == 0 || strcmp(name, "vmswap-slots") == 0,
	};
	kept->memory = map_memory(kept->size_bytes);
	ASSERT(kept->memory != NULL);
	*ret_shared = (struct shared){kept->memory, kept->size_bytes, fd};
	return 0;
}

int shared_open_secret(const char *name, uint64_t size_bytes, struct shared *ret_shared)
{
	return shared_open(name, size_bytes, ret_shared);
}

int shared_adopt(int fd, uint64_t size_bytes, struct shared *ret_shared)
{
	const uint64_t inode = fake_inode(fd);

	for (uint32_t i = 0; i < world.shared_count; i++) {
		const struct fake_shared *kept = &world.shared[i];

		if (kept->inode != inode)
			continue;
		ASSERT(kept->size_bytes == divide_up(size_bytes, PAGE_BYTES) * PAGE_BYTES);
		*ret_shared = (struct shared){kept->memory, kept->size_bytes, dup(fd)};
		return 0;
	}
	fake_fail("descriptor %d is no shared memory", fd);
}

int shared_next_data(
	const struct shared *shared, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
	if (offset >= shared->size_bytes)
		return -ENXIO;
	*ret_start = offset;
	*ret_end = shared->size_bytes;
	return 0;
}

/* The memory stays: nobody knows here whether a supervisor holds it as well. */
void shared_close(struct shared *shared)
{
	if (!shared->memory)
		return;
	close_fd(shared->fd);
	*shared = (struct shared){.fd = -1};
}

void fake_shared_free(void)
{
	for (uint32_t i = 0; i < world.shared_count; i++)
		(void)munmap(world.shared[i].memory, world.shared[i].size_bytes);
}

bool fake_slot_is_lost(uint32_t slot)
{
	ASSERT(slot < world.disk_slots);
	return world.slot[slot].is_bad || world.slot[slot].failed_reads >= READS_THAT_LOSE;
}

const uint8_t *fake_slot(uint32_t slot)
{
	ASSERT(slot < world.disk_slots);
	return world.disk + (uint64_t)slot * PAGE_BYTES;
}

uint8_t *fake_change_slot(uint64_t slot)
{
	ASSERT(slot < world.disk_slots);
	fake_keep(world.disk + slot * PAGE_BYTES);
	return world.disk + slot * PAGE_BYTES;
}

void fake_rot(uint32_t slot)
{
	fake_change_slot(slot)[100] ^= 0x10;
	world.slot[slot].is_bad = true;
}
