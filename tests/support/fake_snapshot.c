/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_snapshot.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "tests/support/fake_crash.h"
#include "tests/support/fake_priv.h"
#include "tests/support/fake_ring.h"

#define SPANS_MAX  256u
#define BYTES_MAX  (4u << 20)
#define PAGES_MAX  8192u
#define PLACES_MAX (4 * PAGES_MAX)

static struct {
	bool is_active;
	uint32_t generation; /* of this copy */
	uint32_t span_count, page_count;
	size_t used_bytes;
	struct {
		void *memory;
		size_t size_bytes;
	} span[SPANS_MAX];
	uint8_t bytes[BYTES_MAX]; /* of the spans, one after the other */
	uint8_t *page[PAGES_MAX];
	uint8_t content[PAGES_MAX][PAGE_BYTES];
	/* The pages that are kept, found by their address. */
	struct {
		const uint8_t *page;
		uint32_t generation;
	} place[PLACES_MAX];
} saved;

static void span(void *memory, size_t size_bytes)
{
	ASSERT(saved.span_count < SPANS_MAX);
	ASSERT(saved.used_bytes + size_bytes <= BYTES_MAX);
	saved.span[saved.span_count].memory = memory;
	saved.span[saved.span_count++].size_bytes = size_bytes;
	memcpy(saved.bytes + saved.used_bytes, memory, size_bytes);
	saved.used_bytes += size_bytes;
}

static void span_rings(void)
{
	span(fake_rings, sizeof(fake_rings));
	for (uint32_t i = 0; i < RINGS_MAX; i++) {
		if (!fake_rings[i])
			continue;
		span(fake_rings[i], sizeof(*fake_rings[i]));
		span(fake_rings[i]->operation,
			fake_rings[i]->count * sizeof(*fake_rings[i]->operation));
	}
}

static void span_uffds(void)
{
	for (uint32_t i = 0; i < world.uffd_count; i++) {
		struct fake_uffd *uffd = &world.uffd[i];

		span(uffd, offsetof(struct fake_uffd, event) +
				   uffd->event_count * sizeof(uffd->event[0]));
	}
}

void fake_save(void)
{
	struct fake_fd *fds;
	uint32_t fd_count;

	ASSERT(!saved.is_active);
	ASSERT(world.late_count == 0);
	saved.span_count = 0;
	saved.page_count = 0;
	saved.used_bytes = 0;
	saved.generation++;
	span(&world, offsetof(struct world, uffd));
	span_uffds();
	for (uint32_t i = 0; i < world.memfd_count; i++)
		span(world.memfd[i].page, world.memfd[i].pages * sizeof(struct fake_page));
	for (uint32_t i = 0; i < world.process_count; i++)
		for (uint32_t j = 0; j < world.memfd_count; j++)
			span(world.process[i].pte[j],
				world.memfd[j].pages * sizeof(struct fake_pte));
	span(world.slot, world.disk_slots * sizeof(*world.slot));
	for (uint32_t i = 0; i < world.shared_count; i++)
		span(world.shared[i].memory, world.shared[i].size_bytes);
	span_rings();
	fds = fake_fds(&fd_count);
	/* And some that are free, for those a successor opens. */
	span(fds, (fd_count + 256) * sizeof(*fds));
	saved.is_active = true;
}

void fake_restore(void)
{
	const uint8_t *from = saved.bytes;
	uint32_t fd_count;

	ASSERT(saved.is_active);
	saved.is_active = false;
	fake_forget_writes();
	for (uint32_t i = 0; i < saved.span_count; i++) {
		memcpy(saved.span[i].memory, from, saved.span[i].size_bytes);
		from += saved.span[i].size_bytes;
	}
	for (uint32_t i = 0; i < saved.page_count; i++)
		memcpy(saved.page[i], saved.content[i], PAGE_BYTES);
	(void)fake_fds(&fd_count);
}

void fake_keep(uint8_t *page)
{
	uint64_t place = (uintptr_t)page / PAGE_BYTES * 0x9e3779b97f4a7c15u >> 40;

	if (!saved.is_active)
		return;
	for (; saved.place[place % PLACES_MAX].generation == saved.generation; place++)
		if (saved.place[place % PLACES_MAX].page == page)
			return;
	ASSERT(saved.page_count < PAGES_MAX);
	saved.place[place % PLACES_MAX].page = page;
	saved.place[place % PLACES_MAX].generation = saved.generation;
	memcpy(saved.content[saved.page_count], page, PAGE_BYTES);
	saved.page[saved.page_count++] = page;
}

void fake_reseed(uint64_t seed)
{
	world.random = seed;
}

static void add_bytes(XXH3_state_t *state, const void *bytes, size_t size)
{
	(void)XXH3_64bits_update(state, bytes, size);
}

static void add_number(XXH3_state_t *state, uint64_t number)
{
	add_bytes(state, &number, sizeof(number));
}

static void add_rings(XXH3_state_t *state)
{
	for (uint32_t i = 0; i < RINGS_MAX; i++)
		for (uint32_t j = 0; fake_rings[i] && j < fake_rings[i]->count; j++) {
			const struct operation *operation = &fake_rings[i]->operation[j];

			add_number(state, (uint64_t)operation->kind << 8 | operation->phase);
			add_number(state, operation->offset);
			add_number(state, operation->size_bytes + operation->count);
		}
}

static void add_threads(XXH3_state_t *state)
{
	for (uint32_t i = 0; i < THREADS_MAX; i++) {
		const struct fake_thread *thread = &world.thread[i];

		if (thread->kind == THREAD_FREE || !thread->is_blocked)
			continue;
		add_number(state, thread->address | (uint64_t)thread->is_read << 1 |
					  (uint64_t)thread->is_write);
	}
}

uint64_t fake_fingerprint(void)
{
	XXH3_state_t *state = XXH3_createState();
	uint64_t print;

	ASSERT(state != NULL);
	(void)XXH3_64bits_reset(state);
	for (uint32_t i = 0; i < world.shared_count; i++)
		if (world.shared[i].is_state)
			add_bytes(state, world.shared[i].memory, world.shared[i].size_bytes);
	for (uint32_t i = 0; i < world.memfd_count; i++)
		for (uint64_t page = 0; page < world.memfd[i].pages; page++)
			add_number(state, world.memfd[i].page[page].is_present +
						  world.memfd[i].page[page].is_hollow);
	for (uint32_t i = 0; i < world.process_count; i++)
		for (uint32_t j = 0; j < world.memfd_count; j++)
			add_bytes(state, world.process[i].pte[j],
				world.memfd[j].pages * sizeof(struct fake_pte));
	add_rings(state);
	add_threads(state);
	print = XXH3_64bits_digest(state);
	(void)XXH3_freeState(state);
	return print;
}

uint64_t fake_content_sum(void)
{
	uint64_t sum = XXH3_64bits(world.disk, world.disk_slots * PAGE_BYTES);

	for (uint32_t i = 0; i < world.memfd_count; i++)
		sum = XXH3_64bits_withSeed(
			world.memfd[i].memory, world.memfd[i].pages * PAGE_BYTES, sum);
	return sum;
}
