/* SPDX-License-Identifier: Apache-2.0 */
/* Whether tables, counters, slots and lost pages agree. */
#include "io/slots.h"
#include "queue/base/assert.h"
#include "tests/sim/sim.h"

void sim_take_events(struct sim *sim)
{
	struct engine_event event;

	while (engine_next_event(sim->engine, &event)) {
		ASSERT(event.vm == sim->vm);
		sim->events[event.kind]++;
	}
}

static bool is_quiet(const struct sim *sim)
{
	if (sim->engine->limbo_count > 0)
		return false;
	for (uint32_t i = 0; i < sim->engine->shard_count; i++)
		if (sim->engine->shard[i].tasks_active > 0)
			return false;
	return true;
}

static void check_slots(const struct sim *sim, const struct page_count *count)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < sim->engine->shard_count; i++) {
		slots_check(sim->engine->shard[i].slots);
		used += slots_used(sim->engine->shard[i].slots);
	}
	/* Slots of pages, and of writes in flight whose page left meanwhile. */
	if (used < count->slots || (is_quiet(sim) && used != count->slots))
		fake_fail("LEAK: %lu slots are used, pages have %lu", used, count->slots);
}

static void check_gauges(const struct sim *sim, const struct page_count *count)
{
	const uint64_t staged = count->state[PAGE_STAGED] + count->state[PAGE_WRITING];
	struct vm_stats stats;

	if (!vm_is_registered(sim->vm))
		return;
	vm_stats_read(sim->vm, &stats);
	if (stats.resident_pages + stats.staging_pages + stats.swap_pages + stats.zero_pages !=
		vm_pages(sim->vm))
		fake_fail("the sum of the places is not the number of pages");
	if (stats.staging_pages != staged || stats.resident_pages != count->state[PAGE_RESIDENT])
		fake_fail("%lu staged, %lu resident, but the gauges say %lu, %lu", staged,
			count->state[PAGE_RESIDENT], stats.staging_pages, stats.resident_pages);
}

/* A page may be given up only where the disk lost it. */
static void check_poison(const struct sim *sim)
{
	for (uint64_t page = 0; page < sim->vm->table.page_count; page++) {
		const page_word word = page_load(&sim->vm->table, page);

		if (page_state_of(word) == PAGE_POISONED && !fake_slot_is_lost(page_slot_of(word)))
			fake_fail("LOSS: page %lu is poisoned, but slot %u is good", page,
				page_slot_of(word));
	}
}

void sim_check_tables(const struct sim *sim)
{
	const struct page_count count = sim_pages(sim);

	check_slots(sim, &count);
	check_gauges(sim, &count);
	if (count.state[PAGE_POISONED] > 0)
		check_poison(sim);
}

void sim_check(struct sim *sim)
{
	sim_take_events(sim);
	sim_check_tables(sim);
}

struct page_count sim_pages(const struct sim *sim)
{
	struct page_count count;

	page_table_check(&sim->vm->table, &count);
	return count;
}

enum page_state sim_state(const struct sim *sim, uint64_t page)
{
	return page_state_of(page_load(&sim->vm->table, page));
}

uint32_t sim_slot(const struct sim *sim, uint64_t page)
{
	return page_slot_of(page_load(&sim->vm->table, page));
}

uint64_t sim_stat(const struct sim *sim, enum counter stat)
{
	struct vm_stats stats;

	vm_stats_read(sim->vm, &stats);
	return stats.count[stat];
}

/* After we have left, a lost page must go on being an error everywhere, not become zeros. */
void sim_check_poison_stays(const struct sim *sim)
{
	const struct vm *vm = sim->vm;

	for (uint64_t page = 0; page < vm->table.page_count; page++) {
		const struct region *region =
			vm_region_of_chunk(vm, (uint32_t)(page / CHUNK_PAGES));
		const uint64_t address =
			sim_address((uint32_t)(region - vm->region)) + vm_file_offset(vm, page);

		if (sim_state(sim, page) != PAGE_POISONED)
			continue;
		for (uint32_t i = 0; i < FAKE_PROCESSES_MAX; i++)
			if (sim->is_served[i] && !fake_is_poisoned(sim->process[i], address))
				fake_fail("LOSS: page %lu was lost and is no error in process %u",
					page, i);
	}
}
