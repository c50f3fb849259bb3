/* SPDX-License-Identifier: Apache-2.0 */
/* io/swapfile.h and io/shared.h: a disk in memory that can go bad, and plain memory. */
#include <errno.h>
#include <stdlib.h>
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
		.fd = fake_descriptor("fake-disk"),
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

int swapfile_drain(const struct swapfile *swapfile, uint64_t offset)
{
	ASSERT(fake_inode(swapfile->fd) == world.disk_inode);
	ASSERT(offset / PAGE_BYTES < world.disk_slots);
	fake_drain();
	return 0;
}

/* A memfd, so that a successor finds it by its descriptor. */
static int map_shared(int fd, uint64_t size_bytes, struct shared *ret_shared)
{
	void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	*ret_shared = (struct shared){.memory = memory, .size_bytes = size_bytes, .fd = fd};
	return 0;
}

int shared_open(const char *name, uint64_t size_bytes, struct shared *ret_shared)
{
	const uint64_t size = divide_up(size_bytes, PAGE_BYTES) * PAGE_BYTES;
	const int fd = fake_descriptor(name);

	ASSERT(ftruncate(fd, (off_t)size) == 0);
	return map_shared(fd, size, ret_shared);
}

int shared_open_secret(const char *name, uint64_t size_bytes, struct shared *ret_shared)
{
	return shared_open(name, size_bytes, ret_shared);
}

int shared_adopt(int fd, uint64_t size_bytes, struct shared *ret_shared)
{
	const int copy = dup(fd);

	ASSERT(copy >= 0);
	return map_shared(copy, divide_up(size_bytes, PAGE_BYTES) * PAGE_BYTES, ret_shared);
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

void shared_close(struct shared *shared)
{
	if (!shared->memory)
		return;
	(void)munmap(shared->memory, shared->size_bytes);
	close_fd(shared->fd);
	*shared = (struct shared){.fd = -1};
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

void fake_rot(uint32_t slot)
{
	ASSERT(slot < world.disk_slots);
	world.disk[(uint64_t)slot * PAGE_BYTES + 100] ^= 0x10;
	world.slot[slot].is_bad = true;
}
