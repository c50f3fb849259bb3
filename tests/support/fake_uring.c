/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io/uring.h: operations in flight take effect some turns after they were submitted and end some
 * turns later, in any order. Punches of guest memory follow each other.
 */
#include "io/uring.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/fake_crash.h"
#include "tests/support/fake_priv.h"
#include "tests/support/fake_ring.h"

/* Turns at whose beginning the tables are checked: one in so many. */
#define CHECK_IN 128u

#define ORPHANS_MAX 8192u

struct uring *fake_rings[RINGS_MAX];

/* Pages of writes that a dead daemon had under way. */
static struct {
	uint8_t page[PAGE_BYTES];
	uint64_t slot;
} orphan[ORPHANS_MAX];
static uint32_t orphan_count;

int uring_refusal(const struct uring *ring)
{
	(void)ring;
	return 0;
}

int uring_open(uint32_t depth, struct uring **ret_ring)
{
	struct uring *ring = calloc(1, sizeof(*ring));
	uint32_t i = 0;

	ASSERT(is_power_of_two(depth));
	ASSERT(ring != NULL);
	while (fake_rings[i])
		i++;
	ASSERT(i < RINGS_MAX);
	fake_rings[i] = ring;
	ring->places = 2 * depth;
	ring->operation = reallocarray(NULL, ring->places, sizeof(*ring->operation));
	ASSERT(ring->operation != NULL);
	*ret_ring = ring;
	return 0;
}

void uring_close(struct uring *ring)
{
	if (!ring)
		return;
	for (uint32_t i = 0; i < RINGS_MAX; i++)
		if (fake_rings[i] == ring)
			fake_rings[i] = NULL;
	free(ring->operation);
	free(ring);
}

int uring_enable(struct uring *ring)
{
	ASSERT(!ring->is_enabled);
	ring->is_enabled = true;
	return 0;
}

int uring_register_buffers(struct uring *ring, const struct iovec *buffers, uint32_t count)
{
	ASSERT(ring->is_enabled);
	ASSERT(buffers != NULL && count > 0);
	return 0;
}

static struct operation *prepare(struct uring *ring, enum operation_kind kind, uint64_t token)
{
	struct operation *operation = &ring->operation[ring->count++];

	ASSERT(ring->is_enabled);
	ASSERT(ring->count <= ring->places);
	*operation = (struct operation){.kind = kind, .token = token, .order = ring->order++};
	return operation;
}

/* NOLINTNEXTLINE(readability-function-size): as io/uring.h has it */
void uring_read_fixed(struct uring *ring, uint64_t token, int fd, void *buffer, uint32_t size_bytes,
	uint64_t offset, uint32_t buffer_index)
{
	struct operation *operation = prepare(ring, OPERATION_READ, token);

	ASSERT(buffer_index == 0);
	ASSERT(fake_inode(fd) == world.disk_inode);
	ASSERT((offset + size_bytes) / PAGE_BYTES <= world.disk_slots);
	operation->buffer = buffer;
	operation->size_bytes = size_bytes;
	operation->offset = offset;
}

void uring_writev(struct uring *ring, uint64_t token, int fd, const struct iovec *vector,
	uint32_t count, uint64_t offset)
{
	struct operation *operation = prepare(ring, OPERATION_WRITE, token);

	ASSERT(fake_inode(fd) == world.disk_inode);
	operation->vector = vector;
	operation->count = 0;
	for (uint32_t i = 0; i < count; i++) {
		ASSERT(vector[i].iov_len % PAGE_BYTES == 0);
		operation->count += (uint32_t)(vector[i].iov_len / PAGE_BYTES);
	}
	ASSERT(offset / PAGE_BYTES + operation->count <= world.disk_slots);
	operation->offset = offset;
}

/* Page @i of a gathered write. */
static uint8_t *written_page(const struct operation *operation, uint32_t i)
{
	const struct iovec *piece = operation->vector;

	for (; i >= piece->iov_len / PAGE_BYTES; piece++)
		i -= (uint32_t)(piece->iov_len / PAGE_BYTES);
	return (uint8_t *)piece->iov_base + i * PAGE_BYTES;
}

/* In the order in which they were prepared. */
void uring_punch(struct uring *ring, uint64_t token, int fd, uint64_t offset, uint64_t size_bytes)
{
	struct operation *operation = prepare(ring, OPERATION_PUNCH, token);

	operation->chain = 1; /* of guest memory */
	operation->fd = fd;
	operation->offset = offset;
	operation->size_bytes = size_bytes;
}

void uring_discard(struct uring *ring, uint64_t token, int fd, uint64_t offset, uint64_t size_bytes)
{
	struct operation *operation = prepare(ring, OPERATION_PUNCH, token);

	operation->chain = 2; /* of the store */
	operation->fd = fd;
	operation->offset = offset;
	operation->size_bytes = size_bytes;
}

void uring_poll(struct uring *ring, uint64_t token, int fd)
{
	struct operation *operation = prepare(ring, OPERATION_POLL, token);

	operation->fd = fd;
}

void uring_poll_cancel(struct uring *ring, uint64_t token, uint64_t target)
{
	struct operation *operation = prepare(ring, OPERATION_CANCEL, token);

	operation->target = target;
}

static void read_slots(struct operation *operation)
{
	const uint64_t first = operation->offset / PAGE_BYTES;
	const uint64_t count = operation->size_bytes / PAGE_BYTES;
	bool has_failed;
	uint32_t how;

	memcpy(operation->buffer, world.disk + operation->offset, operation->size_bytes);
	operation->result = (int32_t)operation->size_bytes;
	has_failed = fake_fails(FAKE_READ, 3, &how);
	for (uint64_t slot = first; slot < first + count; slot++)
		world.slot[slot].failed_reads = has_failed ? world.slot[slot].failed_reads + 1 : 0;
	if (!has_failed)
		return;
	if (how == 0)
		operation->result = -EIO;
	else if (how == 1)
		operation->result = (int32_t)(count / 2 * PAGE_BYTES);
	else
		operation->buffer[fake_random(operation->size_bytes)] ^= 0x40;
}

static void write_pages(const struct operation *operation)
{
	const uint64_t first = operation->offset / PAGE_BYTES;

	for (uint32_t i = 0; i < operation->count; i++) {
		memcpy(fake_change_slot(first + i), written_page(operation, i), PAGE_BYTES);
		world.slot[first + i] = (struct fake_slot){0};
		if (fake_one_in(16))
			fake_schedule(); /* the device takes one page after the other */
	}
}

/* The lie: the result is there, the content is taken some time later. */
static void put_off(const struct operation *operation)
{
	for (uint32_t i = 0; i < operation->count && world.late_count < LATE_MAX; i++)
		world.late[world.late_count++] = (struct fake_late){
			.from = written_page(operation, i),
			.slot = operation->offset / PAGE_BYTES + i,
		};
}

static void write_late(void)
{
	if (world.late_count == 0 || !fake_one_in(64))
		return;
	for (uint32_t i = 0; i < world.late_count; i++)
		memcpy(fake_change_slot(world.late[i].slot), world.late[i].from, PAGE_BYTES);
	world.late_count = 0;
}

static void write_slots(struct operation *operation)
{
	const uint64_t first = operation->offset / PAGE_BYTES;
	uint32_t how;

	operation->result = (int32_t)(operation->count * PAGE_BYTES);
	if (world.config.lie != FAKE_WRITES_LATE)
		write_pages(operation);
	if (fake_fails(FAKE_ROT, 1, &how))
		fake_rot((uint32_t)(first + fake_random(operation->count)));
	if (fake_fails(FAKE_WRITE, 3, &how)) {
		const int32_t short_bytes = (int32_t)(operation->count / 2 * PAGE_BYTES);
		const int32_t results[] = {-EIO, -ENOSPC, short_bytes};

		operation->result = results[how];
	} else if (world.config.disk_is_full) {
		operation->result = -ENOSPC;
	} else {
		return;
	}
	for (uint32_t i = 0; i < operation->count; i++)
		memset(fake_change_slot(first + i), 0x5c, PAGE_BYTES);
}

static void punch_disk(const struct operation *operation)
{
	const uint64_t end = operation->offset + operation->size_bytes;

	for (uint64_t at = operation->offset; at < end; at += PAGE_BYTES)
		memset(fake_change_slot(at / PAGE_BYTES), 0, PAGE_BYTES);
}

/* A huge folio that somebody holds: unmapped, zeroed where it is. */
static void zero_in_place(struct fake_memfd *memfd, uint64_t page)
{
	const bool was_present = memfd->page[page].is_present;

	fake_drop(memfd, page);
	memfd->page[page].is_present = was_present;
	memset(fake_change(memfd, page), 0, PAGE_BYTES);
}

static void punch_memfd(struct operation *operation)
{
	struct fake_memfd *memfd = fake_memfd_of(operation->fd);
	const uint64_t first = operation->offset / PAGE_BYTES;
	const uint64_t end = first + operation->size_bytes / PAGE_BYTES;
	const bool has_failed = fake_fails(FAKE_PUNCH, 2, &operation->count);

	ASSERT(end <= memfd->pages);
	if (has_failed && operation->count == 0) {
		operation->result = -EIO;
		return;
	}
	for (uint64_t page = first; page < end; page++) {
		if (has_failed)
			zero_in_place(memfd, page);
		else
			fake_drop(memfd, page);
	}
}

static bool is_blocked_by_chain(const struct uring *ring, const struct operation *operation)
{
	if (operation->kind != OPERATION_PUNCH)
		return false;
	for (uint32_t i = 0; i < ring->count; i++) {
		const struct operation *other = &ring->operation[i];

		if (other->kind == OPERATION_PUNCH && other->chain == operation->chain &&
			other->order < operation->order && other->phase < PHASE_EFFECTIVE)
			return true;
	}
	return false;
}

static void cancel_poll(struct uring *ring, struct operation *operation)
{
	operation->result = -ENOENT;
	for (uint32_t i = 0; i < ring->count; i++) {
		struct operation *other = &ring->operation[i];

		if (other->kind != OPERATION_POLL || other->token != operation->target)
			continue;
		other->is_gone = true;
		other->result = -ECANCELED;
		operation->result = 0;
	}
}

static void take_effect(struct uring *ring, struct operation *operation)
{
	operation->phase = PHASE_EFFECTIVE;
	switch (operation->kind) {
	case OPERATION_READ: read_slots(operation); break;
	case OPERATION_WRITE: write_slots(operation); break;
	case OPERATION_PUNCH:
		if (fake_inode(operation->fd) == world.disk_inode)
			punch_disk(operation);
		else
			punch_memfd(operation);
		break;
	case OPERATION_CANCEL: cancel_poll(ring, operation); break;
	case OPERATION_POLL: break;
	}
}

/* Multishot and edge triggered; now and then the kernel ends it by itself. */
static bool poll_reports(struct operation *operation, struct uring_done *ret_done)
{
	struct fake_uffd *uffd = NULL;
	bool is_last = operation->is_gone;

	for (uint32_t i = 0; i < world.uffd_count; i++)
		if (world.uffd[i].inode == fake_inode(operation->fd))
			uffd = &world.uffd[i];
	if (!is_last && (!uffd || !uffd->has_edge))
		return false;
	if (uffd)
		uffd->has_edge = false;
	is_last = is_last || fake_one_in(32);
	*ret_done = (struct uring_done){
		.token = operation->token,
		.result = operation->is_gone ? operation->result : POLLIN,
		.flags = is_last ? 0 : URING_MORE,
	};
	if (is_last)
		operation->phase = PHASE_ENDED;
	return true;
}

/* Moves one operation on; true when it has a result for the caller. */
static bool go_on(struct uring *ring, struct operation *operation, struct uring_done *ret_done)
{
	if (operation->phase == PHASE_PREPARED)
		return false;
	if (operation->kind == OPERATION_POLL)
		return poll_reports(operation, ret_done);
	if (operation->phase == PHASE_SUBMITTED) {
		if (fake_one_in(world.config.delay) && !is_blocked_by_chain(ring, operation))
			take_effect(ring, operation);
		return false;
	}
	if (!fake_one_in(world.config.delay))
		return false;
	if (operation->kind == OPERATION_WRITE && world.config.lie == FAKE_WRITES_LATE)
		put_off(operation);
	operation->phase = PHASE_ENDED;
	*ret_done = (struct uring_done){.token = operation->token, .result = operation->result};
	return true;
}

static void write_orphans(void);

static void remove_ended(struct uring *ring)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < ring->count; i++)
		if (ring->operation[i].phase != PHASE_ENDED)
			ring->operation[kept++] = ring->operation[i];
	ring->count = kept;
}

int uring_submit(struct uring *ring)
{
	ASSERT(ring->is_enabled);
	if (world.config.check && fake_one_in(CHECK_IN))
		world.config.check(world.config.sim);
	fake_schedule();
	for (uint32_t i = 0; i < ring->count; i++) {
		struct operation *operation = &ring->operation[i];

		if (operation->phase != PHASE_PREPARED)
			continue;
		operation->phase = PHASE_SUBMITTED;
		/* A poll that is armed on something readable says so. */
		if (operation->kind == OPERATION_POLL)
			for (uint32_t j = 0; j < world.uffd_count; j++)
				if (world.uffd[j].inode == fake_inode(operation->fd) &&
					fake_is_readable(&world.uffd[j]))
					world.uffd[j].has_edge = true;
	}
	return 0;
}

int uring_wait(struct uring *ring, uint64_t timeout_us)
{
	(void)timeout_us;
	return uring_submit(ring);
}

/* From any place in the order on, so that operations overtake each other. */
uint32_t uring_reap(struct uring *ring, struct uring_done *ret_done, uint32_t max)
{
	const uint32_t total = ring->count;
	uint32_t count = 0;

	fake_schedule();
	write_late();
	write_orphans();
	if (total == 0)
		return 0;
	for (uint32_t i = 0, at = (uint32_t)fake_random(total); i < total && count < max; i++)
		if (go_on(ring, &ring->operation[(at + i) % total], &ret_done[count]))
			count++;
	remove_ended(ring);
	return count;
}

/* The device has taken the memory already, or takes it later: what is there now will do. */
static void keep_orphans(const struct operation *operation)
{
	for (uint32_t i = 0; i < operation->count && orphan_count < ORPHANS_MAX; i++) {
		memcpy(orphan[orphan_count].page, written_page(operation, i), PAGE_BYTES);
		orphan[orphan_count++].slot = operation->offset / PAGE_BYTES + i;
	}
}

static void die(struct uring *ring)
{
	for (uint32_t i = 0; i < ring->count; i++) {
		struct operation *operation = &ring->operation[i];

		if (operation->phase >= PHASE_EFFECTIVE)
			continue;
		if (operation->kind == OPERATION_WRITE && operation->phase == PHASE_SUBMITTED)
			keep_orphans(operation);
		if (operation->kind == OPERATION_PUNCH && fake_one_in(2) &&
			!is_blocked_by_chain(ring, operation))
			take_effect(ring, operation);
	}
	ring->count = 0;
}

void fake_crash(void)
{
	world.is_running = true; /* no guest runs in between */
	for (uint32_t i = 0; i < RINGS_MAX; i++) {
		if (fake_rings[i])
			die(fake_rings[i]);
		fake_rings[i] = NULL;
	}
	for (uint32_t i = 0; i < world.uffd_count; i++)
		world.uffd[i].has_edge = true;
	world.is_running = false;
}

static void write_orphan(uint32_t i)
{
	memcpy(fake_change_slot(orphan[i].slot), orphan[i].page, PAGE_BYTES);
	orphan[i] = orphan[--orphan_count];
}

/* Once in a while one of them reaches the disk. */
static void write_orphans(void)
{
	if (orphan_count > 0 && fake_one_in(8))
		write_orphan((uint32_t)fake_random(orphan_count));
}

void fake_drain(void)
{
	while (orphan_count > 0)
		write_orphan(0);
}

void fake_forget_writes(void)
{
	orphan_count = 0;
}
