/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a successor finds is not what its words say, each time in one way: either that does no harm,
 * or no shard begins with it. Each case
 * is a child of its own, as a daemon that died leaves its memory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/base/assert.h"
#include "tests/sim/sim.h"
#include "tests/support/fake_crash.h"

/* With two shards the first chunk is the first one's, the second the other's. */
#define PAGES	   ((uint64_t)CHUNK_PAGES + 40)
#define OF_FIRST   7u
#define OF_SECOND  (CHUNK_PAGES + 7u)
#define SEED	   1u
#define SLOT_BYTES 4096u
#define TURNS_MAX  100u

static struct sim sim;

static page_word word_of(uint64_t page)
{
	return page_load(&sim.vm->table, page);
}

static void put(uint64_t page, page_word word)
{
	atomic_store(&sim.vm->table.words[page], word);
}

static page_word with_slot(uint64_t page, uint32_t slot)
{
	return (word_of(page) & UINT32_MAX) | (page_word)slot << 32;
}

static void nothing(void)
{
}

static void slot_of_another_shard(void)
{
	const page_word first = word_of(OF_FIRST);

	put(OF_FIRST, word_of(OF_SECOND));
	put(OF_SECOND, first);
}

static void slot_of_two_pages(void)
{
	put(OF_FIRST, word_of(OF_FIRST + 1));
}

static void slot_that_is_free(void)
{
	put(OF_SECOND, with_slot(OF_SECOND, page_slot_of(word_of(PAGES - 1)) + 1));
}

static void slot_behind_the_store(void)
{
	put(OF_FIRST, with_slot(OF_FIRST, (uint32_t)(sim.engine->store.size_bytes / SLOT_BYTES)));
}

static void greatest_slot(void)
{
	put(OF_FIRST, with_slot(OF_FIRST, UINT32_MAX));
	put(OF_FIRST + 1, with_slot(OF_FIRST + 1, 0));
}

static void no_word(void)
{
	put(OF_SECOND, word_of(OF_SECOND) | PAGE_CLEAN);
}

static void no_state(void)
{
	put(OF_SECOND, PAGE_STATES);
}

static void page_behind_the_last(void)
{
	put(PAGES, page_plain(PAGE_RESIDENT));
}

static void link_to_no_page(void)
{
	put(OF_FIRST, page_with_link(word_of(OF_FIRST), -(int32_t)OF_FIRST - 1));
	put(PAGES - 1, page_with_link(word_of(PAGES - 1), PAGE_LINK_MAX));
}

/* A guest waits for the read of the page, and whoever is not attached saw zeros there meanwhile. */
static void zeros_where_a_page_is_read(void)
{
	ASSERT(!fake_touch(0, sim_address(0) + OF_FIRST * PAGE_BYTES, false));
	for (uint32_t turn = 0; turn < TURNS_MAX && sim_state(&sim, OF_FIRST) != PAGE_READING;
		turn++)
		sim_turn(&sim);
	ASSERT(sim_state(&sim, OF_FIRST) == PAGE_READING);
	fake_stranger(sim.memfd[0], OF_FIRST);
}

/* It was joining, and comes to registered memory of which pages are out. */
static void process_without_handshake(void)
{
	const uint32_t process = sim_process(&sim);

	for (uint32_t i = 0; i < sim.config.shards; i++)
		sim.uffd[process][i] = fake_uffd(process);
	sim.is_joined[process] = true;
}

/* A foreign userfaultfd is there, so this worker fails: the others must go on waiting. */
static void registration_that_fails(void)
{
	const uint32_t process = sim_process(&sim);
	const int foreign = fake_uffd(process);

	ASSERT(uffd_handshake(foreign, 0) == 0);
	ASSERT(uffd_register(foreign, sim_address(0), PAGES * PAGE_BYTES, false) == 0);
	for (uint32_t i = 0; i < sim.config.shards; i++)
		sim.uffd[process][i] = fake_uffd(process);
	sim.is_joined[process] = true;
	fake_crash();
	ASSERT(sim_adopt(&sim) == 0);
	sim_adopt_processes(&sim);
	ASSERT(vm_resume(sim.vm) == -EBUSY);
	ASSERT(!fake_touch(0, sim_address(0) + OF_FIRST * PAGE_BYTES, false));
	sim.is_joined[process] = false;
}

/* All of it, or a part in the middle of a range, while there is no daemon. */
static void unmap_when_nobody_listens(uint64_t first, uint64_t count)
{
	const uint32_t process = sim_process(&sim);

	ASSERT(sim_join(&sim, process) == 0);
	fake_crash();
	fake_unmap(process, sim_address(0) + first * PAGE_BYTES, count * PAGE_BYTES);
}

static void memory_that_is_unmapped(void)
{
	unmap_when_nobody_listens(0, PAGES);
}

static void memory_with_a_hole(void)
{
	unmap_when_nobody_listens(OF_FIRST, 20);
}

/* Whether the message was read by the dead worker or waits for us. */
static void move_memory(bool is_told)
{
	const uint64_t to = sim_address(1);

	fake_move(0, sim_address(0), PAGES * PAGE_BYTES, to);
	if (is_told)
		sim_idle(&sim, TURNS_MAX);
	fake_crash();
	sim.has_runs[0] = true;
	sim.run_count[0] = 1;
	sim.run[0][0] = (struct process_run){.address = to, .size_bytes = PAGES * PAGE_BYTES};
	ASSERT(sim_adopt(&sim) == 0);
	sim_resume(&sim);
	for (uint64_t page = 0; page < PAGES; page++) {
		(void)fake_touch(0, to + page * PAGE_BYTES, false);
		sim_settle_guests(&sim);
	}
	fake_verify();
	_Exit(0);
}

static void memory_that_has_moved(void)
{
	move_memory(true);
}

static void memory_that_moves_meanwhile(void)
{
	move_memory(false);
}

/* A link is a hint: a wrong one goes, and nothing else. A slot is the truth. */
static const struct {
	const char *name;
	void (*spoil)(void);
	int expected;
} cases[] = {
	{"nothing is wrong", nothing, 0},
	{"links that lead to no page", link_to_no_page, 0},
	{"zeros where a page was being read", zeros_where_a_page_is_read, 0},
	{"a process that had no handshake", process_without_handshake, 0},
	{"a registration that fails", registration_that_fails, 0},
	{"memory that a process has unmapped meanwhile", memory_that_is_unmapped, 0},
	{"memory of which it has unmapped a part", memory_with_a_hole, 0},
	{"memory that has moved", memory_that_has_moved, 0},
	{"memory that moves meanwhile", memory_that_moves_meanwhile, 0},
	{"a slot of another shard", slot_of_another_shard, -EBADMSG},
	{"one slot of two pages", slot_of_two_pages, -EBADMSG},
	{"a slot that is free", slot_that_is_free, -EBADMSG},
	{"a slot behind the store", slot_behind_the_store, -EBADMSG},
	{"the greatest slot, and then the first", greatest_slot, -EBADMSG},
	{"a word with a flag that its state cannot have", no_word, -EBADMSG},
	{"a word of no state", no_state, -EBADMSG},
	{"a page behind the last", page_behind_the_last, -EBADMSG},
};

static void open_with_pages_out(void)
{
	struct sim_config config = sim_defaults(SEED);

	config.shards = 2;
	config.threads = 0;
	config.pages[0] = PAGES;
	sim_open(&config, &sim);
	sim_write(&sim, PAGES);
	(void)sim_out(&sim);
	for (uint64_t page = 0; page < PAGES; page++)
		ASSERT(sim_state(&sim, page) == PAGE_SWAPPED);
	ASSERT(vm_owner(sim.vm, OF_FIRST / CHUNK_PAGES) !=
		vm_owner(sim.vm, OF_SECOND / CHUNK_PAGES));
}

static void try_case(uint64_t index)
{
	open_with_pages_out();
	cases[index].spoil();
	fake_crash();
	ASSERT(sim_adopt(&sim) == cases[index].expected);
	if (cases[index].expected == 0) {
		sim_resume(&sim);
		for (uint64_t page = 0; page < PAGES; page++)
			ASSERT(sim_touch(&sim, 0, page, false));
		sim_close(&sim);
	}
	_Exit(0); /* a daemon that died left its memory: no leak of ours */
}

int main(void)
{
	int failed = 0;

	for (uint64_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const int code = sim_child(try_case, i, false);

		(void)printf("%s: %s\n", code == 0 ? "ok" : "FAILED", cases[i].name);
		failed += code != 0;
	}
	return failed > 0;
}
