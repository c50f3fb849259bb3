/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest threads. An access finds its page mapped, or is served by the "kernel" where nothing is
 * registered, or waits for the userfaultfd of the range and is tried again when woken: what it
 * sees then is checked against the model, what it writes becomes the model.
 */
#include <string.h>

#include "tests/support/fake_audit.h"
#include "tests/support/fake_priv.h"

/* Stamps a page: a torn or half-filled page has different ones. */
#define STAMPS 8u
/* Scheduling points after which a thread that waits is lost. */
#define WAIT_MAX 40000u

static uint64_t stamp(const uint8_t *content, uint32_t i)
{
	return *(const uint64_t *)(const void *)(content + i * (PAGE_BYTES / STAMPS));
}

/* What stamp @i of @page holds in @version. */
static uint64_t stamp_of(
	const struct fake_memfd *memfd, uint64_t page, uint64_t version, uint32_t i)
{
	if (version == 0)
		return 0;
	return version << 32 | (uint64_t)(memfd - world.memfd) << 28 | page << 4 | i;
}

static bool is_version(
	const uint8_t *content, const struct fake_memfd *memfd, uint64_t page, uint64_t version)
{
	for (uint32_t i = 0; i < STAMPS; i++)
		if (stamp(content, i) != stamp_of(memfd, page, version, i))
			return false;
	return true;
}

static bool holds(const struct fake_memfd *memfd, uint64_t page, uint64_t version)
{
	return is_version(fake_content(memfd, page), memfd, page, version);
}

bool fake_is_right(int memfd, uint64_t page, const uint8_t *content)
{
	const struct fake_memfd *of = fake_memfd_of(memfd);
	const struct fake_page *state = &of->page[page];

	if (!content)
		return state->version == 0 || state->may_be_zero;
	return is_version(content, of, page, state->version) ||
	       (state->may_be_zero && is_version(content, of, page, 0));
}

void fake_check_page(struct fake_memfd *memfd, uint64_t page, const char *who)
{
	struct fake_page *state = &memfd->page[page];

	if (holds(memfd, page, state->version)) {
		state->may_be_zero = false;
		return;
	}
	if (state->may_be_zero && holds(memfd, page, 0)) {
		state->version = 0;
		state->may_be_zero = false;
		return;
	}
	fake_fail("LOSS: %s: memfd %ld page %lu is not version %lu%s but %lx, %lx", who,
		(long)(memfd - world.memfd), page, state->version,
		state->may_be_zero ? " or zero" : "", stamp(fake_content(memfd, page), 0),
		stamp(fake_content(memfd, page), STAMPS - 1));
}

/* @is_varied: now and then zeros, or what is there already. */
static void write_page(struct fake_memfd *memfd, uint64_t page, bool is_varied)
{
	struct fake_page *state = &memfd->page[page];
	uint8_t *content = fake_change(memfd, page);

	if (is_varied && fake_one_in(12)) {
		memset(content, 0, PAGE_BYTES);
		state->version = 0;
	} else {
		if (state->version == 0 || !is_varied || !fake_one_in(16))
			state->version = ++world.versions;
		for (uint32_t i = 0; i < STAMPS; i++)
			*(uint64_t *)(void *)(content + i * (PAGE_BYTES / STAMPS)) =
				stamp_of(memfd, page, state->version, i);
	}
	state->may_be_zero = false;
}

/* The page is pinned; its content changes when the device is done. */
static void begin_dma(const struct fake_place *place)
{
	for (uint32_t i = 0; i < DMAS_MAX; i++) {
		if (world.dma[i].is_used)
			continue;
		world.dma[i] = (struct fake_dma){
			.is_used = true,
			.memfd = place->memfd,
			.page = place->page,
			.incarnation = place->memfd->page[place->page].incarnation,
			.due_ns = world.now_ns + fake_random(world.config.dma_ns + 1),
		};
		return;
	}
}

void fake_forget_dma(const struct fake_memfd *memfd, uint64_t page)
{
	for (uint32_t i = 0; i < DMAS_MAX; i++)
		if (world.dma[i].memfd == memfd && world.dma[i].page == page)
			world.dma[i].is_used = false;
}

void fake_dma_step(void)
{
	for (uint32_t i = 0; i < DMAS_MAX; i++) {
		struct fake_dma *dma = &world.dma[i];
		struct fake_page *state;

		if (!dma->is_used || dma->due_ns > world.now_ns)
			continue;
		dma->is_used = false;
		state = &dma->memfd->page[dma->page];
		/* Into the page that was pinned, or into nowhere; the guest believes it all the
		 * same. */
		if (state->is_present && state->incarnation == dma->incarnation) {
			write_page(dma->memfd, dma->page, false);
		} else {
			state->version = ++world.versions;
			state->may_be_zero = false;
		}
	}
}

static void access_page(struct fake_thread *thread, const struct fake_place *place)
{
	world.accesses++;
	thread->has_access = false;
	if (!place->memfd->page[place->page].is_present)
		fake_fail("a page is mapped that the memfd does not hold: %lu", place->page);
	fake_check_page(place->memfd, place->page, thread->is_write ? "write" : "read");
	if (!thread->is_write)
		return;
	place->pte->flags &= (uint8_t)~PTE_ARMED;
	if (thread->is_dma)
		begin_dma(place);
	else
		write_page(place->memfd, place->page, thread->kind == THREAD_RANDOM);
}

/* No userfaultfd there: the kernel maps what is cached, or a new page of zeros. */
static void fill_by_kernel(const struct fake_place *place)
{
	struct fake_page *state = &place->memfd->page[place->page];

	if (!state->is_present)
		memset(fake_change(place->memfd, place->page), 0, PAGE_BYTES);
	state->is_present = true;
	state->is_hollow = false;
	place->pte->flags = PTE_MAPPED;
}

static void block(struct fake_thread *thread, const struct fake_place *place)
{
	thread->is_blocked = true;
	thread->is_read = false;
	thread->is_missing = !place->memfd->page[place->page].is_present;
	thread->uffd = place->pte->uffd;
	thread->since = world.tick;
	world.uffd[thread->uffd].has_edge = true;
}

/* The access that is under way. */
static void try_access(struct fake_thread *thread)
{
	struct fake_place place;

	if (!fake_find(thread->process, thread->address, &place)) {
		thread->has_access = false; /* unmapped meanwhile: the VMM's own business */
		return;
	}
	if (place.pte->flags & PTE_POISONED) {
		thread->has_access = false;
		world.poisons++;
		return;
	}
	if (!(place.pte->flags & PTE_MAPPED)) {
		if (place.pte->flags & PTE_REGISTERED) {
			block(thread, &place);
			return;
		}
		fill_by_kernel(&place);
	}
	access_page(thread, &place);
}

/* What the VMM does to its memory between accesses. */
static bool maybe_balloon(const struct fake_place *place)
{
	struct fake_page *state = &place->memfd->page[place->page];

	if (fake_one_in(world.config.discard_in)) {
		fake_forget_dma(place->memfd, place->page);
		state->may_be_zero = true;
		if (state->is_present) {
			fake_drop(place->memfd, place->page);
			memset(fake_change(place->memfd, place->page), 0, PAGE_BYTES);
		}
		return true;
	}
	if (!fake_one_in(world.config.allocate_in) || state->is_present)
		return false;
	/* fallocate(2): a page where there was a hole, of zeros when somebody comes for it. */
	state->is_present = true;
	state->is_hollow = true;
	memset(fake_change(place->memfd, place->page), 0, PAGE_BYTES);
	return true;
}

/* Most accesses go to few pages, some walk upwards, the rest anywhere. */
static uint64_t choose_page(struct fake_thread *thread, uint64_t pages)
{
	if (thread->walk > 0) {
		thread->walk--;
		return thread->next++ % pages;
	}
	if (fake_one_in(200)) {
		thread->walk = (uint32_t)fake_random(200);
		thread->next = fake_random(pages);
		return thread->next % pages;
	}
	if (fake_random(100) < 70)
		return fake_random(pages / 16 + 1);
	return fake_random(pages);
}

static void choose_access(struct fake_thread *thread)
{
	const struct fake_process *process = thread->process;
	const struct fake_map *map;
	struct fake_place place;
	bool is_hot_half;

	if (process->map_count == 0)
		return;
	map = &process->map[fake_random(process->map_count)];
	is_hot_half = fake_random(100) < 60;
	thread->address = map->address + choose_page(thread, map->pages) * PAGE_BYTES;
	thread->is_write = fake_random(100) < (is_hot_half ? 10 : 50);
	thread->is_dma = thread->is_write && fake_one_in(world.config.dma_in);
	thread->has_access = true;
	if (fake_find(process, thread->address, &place) && maybe_balloon(&place))
		thread->has_access = false;
}

/* The next page of a sweep; at its end the thread is gone. */
static void choose_sweep(struct fake_thread *thread)
{
	uint64_t page = thread->next++;

	for (uint32_t i = 0; i < thread->process->map_count; i++) {
		const struct fake_map *map = &thread->process->map[i];

		if (page < map->pages) {
			thread->address = map->address + page * PAGE_BYTES;
			thread->is_write = false;
			thread->has_access = true;
			return;
		}
		page -= map->pages;
	}
	thread->kind = THREAD_FREE;
}

static void step(struct fake_thread *thread)
{
	if (!thread->has_access) {
		if (thread->kind == THREAD_ONCE) {
			thread->kind = THREAD_FREE;
			return;
		}
		if (thread->kind == THREAD_SWEEP)
			choose_sweep(thread);
		else if (!world.is_paused)
			choose_access(thread);
	}
	if (thread->has_access)
		try_access(thread);
}

void fake_thread_step(void)
{
	const uint32_t first = (uint32_t)fake_random(THREADS_MAX);

	for (uint32_t i = 0; i < THREADS_MAX; i++) {
		struct fake_thread *thread = &world.thread[(first + i) % THREADS_MAX];

		if (thread->kind == THREAD_FREE || thread->is_blocked)
			continue;
		step(thread);
		return;
	}
}

static struct fake_thread *new_thread(uint32_t process, enum thread_kind kind)
{
	for (uint32_t i = 0; i < THREADS_MAX; i++) {
		struct fake_thread *thread = &world.thread[i];

		if (thread->kind != THREAD_FREE)
			continue;
		*thread = (struct fake_thread){.kind = kind, .process = &world.process[process]};
		return thread;
	}
	fake_fail("too many guest threads");
}

void fake_threads(uint32_t process, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		(void)new_thread(process, THREAD_RANDOM);
}

void fake_sweep(uint32_t process)
{
	(void)new_thread(process, THREAD_SWEEP);
}

bool fake_touch(uint32_t process, uint64_t address, bool is_write)
{
	struct fake_thread *thread = new_thread(process, THREAD_ONCE);

	thread->address = address;
	thread->is_write = is_write;
	thread->has_access = true;
	try_access(thread);
	if (thread->has_access)
		return false;
	thread->kind = THREAD_FREE;
	return true;
}

static uint32_t count_threads(enum thread_kind kind, bool only_blocked)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < THREADS_MAX; i++) {
		const struct fake_thread *thread = &world.thread[i];

		if (thread->kind == THREAD_FREE)
			continue;
		if (kind != THREAD_FREE && thread->kind != kind)
			continue;
		count += !only_blocked || thread->is_blocked;
	}
	return count;
}

uint32_t fake_blocked(void)
{
	return count_threads(THREAD_FREE, true);
}

uint32_t fake_sweeps(void)
{
	return count_threads(THREAD_SWEEP, false);
}

void fake_pause(bool is_paused)
{
	world.is_paused = is_paused;
}

uint64_t fake_poisoned(void)
{
	return world.poisons;
}

void fake_check_waiting(void)
{
	for (uint32_t i = 0; i < THREADS_MAX; i++) {
		const struct fake_thread *thread = &world.thread[i];

		if (thread->kind != THREAD_FREE && thread->is_blocked &&
			world.tick - thread->since > WAIT_MAX)
			fake_fail("HANG: a guest waits for ever at %lx, its message was %s",
				thread->address, thread->is_read ? "read" : "not read");
	}
}

void fake_wake_all(void)
{
	for (uint32_t i = 0; i < THREADS_MAX; i++)
		world.thread[i].is_blocked = false;
}

static bool is_poisoned(uint32_t memfd, uint64_t page)
{
	for (uint32_t i = 0; i < world.process_count; i++)
		if (world.process[i].pte[memfd][page].flags & PTE_POISONED)
			return true;
	return false;
}

void fake_verify(void)
{
	for (uint32_t i = 0; i < world.memfd_count; i++) {
		struct fake_memfd *memfd = &world.memfd[i];

		for (uint64_t page = 0; page < memfd->pages; page++) {
			const struct fake_page *state = &memfd->page[page];

			if (is_poisoned(i, page))
				continue;
			if (state->is_present)
				fake_check_page(memfd, page, "verify");
			else if (state->version != 0 && !state->may_be_zero)
				fake_fail("LOSS: verify: memfd %u page %lu is a hole", i, page);
		}
	}
}
