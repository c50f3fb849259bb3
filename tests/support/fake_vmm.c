/* SPDX-License-Identifier: Apache-2.0 */
/* What a VMM does to its mappings, with the events that userfaultfd sends of it. */
#include <string.h>

#include "tests/support/fake_priv.h"

/* The descriptors that serve [address, end), each with its part. */
static void post_range(struct fake_process *process, const struct uffd_message *event)
{
	for (uint32_t i = 0; i < world.uffd_count; i++) {
		struct fake_uffd *uffd = &world.uffd[i];
		struct uffd_message part = *event;
		bool is_any = false;
		struct fake_place place;

		if (uffd->process != process || !uffd->is_ready)
			continue;
		for (uint64_t at = event->address; at < event->end; at += PAGE_BYTES) {
			if (!fake_find(process, at, &place) ||
				!(place.pte->flags & PTE_REGISTERED) || place.pte->uffd != i)
				continue;
			if (!is_any)
				part.address = at;
			part.end = at + PAGE_BYTES;
			is_any = true;
		}
		part.moved_to = event->moved_to + (part.address - event->address);
		if (is_any)
			fake_post(uffd, &part);
	}
}

/* The VMM's call sleeps until its event is read. */
static void wait_until_read(const struct fake_process *process)
{
	for (uint32_t i = 0; i < world.uffd_count; i++)
		if (world.uffd[i].process == process)
			while (world.uffd[i].event_count > 0)
				world.config.turn(world.config.sim);
}

static void discard_range(const struct fake_process *process, uint64_t address, uint64_t end)
{
	struct fake_place place;

	for (; address < end; address += PAGE_BYTES) {
		if (!fake_find(process, address, &place))
			continue;
		fake_forget_dma(place.memfd, place.page);
		place.memfd->page[place.page].may_be_zero = true;
		if (!place.memfd->page[place.page].is_present)
			continue;
		fake_drop(place.memfd, place.page);
		memset(fake_change(place.memfd, place.page), 0, PAGE_BYTES);
	}
}

static bool sends(const struct fake_process *process, uint32_t feature)
{
	for (uint32_t i = 0; i < world.uffd_count; i++)
		if (world.uffd[i].process == process && (world.uffd[i].features & feature) != 0)
			return true;
	return false;
}

/* Where REMOVE is asked for, a zap raises it as well, and waits until it is read. */
static void announce_removal(struct fake_process *process, uint64_t address, uint64_t end)
{
	if (!sends(process, UFFD_EVENT_DISCARD))
		return;
	post_range(process, &(struct uffd_message){
				    .kind = UFFD_REMOVED,
				    .fd = -1,
				    .address = address,
				    .end = end,
			    });
	wait_until_read(process);
}

void fake_zap(uint32_t process, uint64_t address, uint64_t size_bytes)
{
	struct fake_process *target = &world.process[process];
	const uint64_t end = address + size_bytes;
	struct fake_place place;

	announce_removal(target, address, end);
	for (; address < end; address += PAGE_BYTES) {
		/* The mark of a mapped page stays as a marker, in one step. */
		if (!target->is_dead && fake_find(target, address, &place))
			place.pte->flags &= (uint8_t)~PTE_MAPPED;
		if (fake_one_in(64))
			fake_schedule();
	}
}

void fake_remove(uint32_t process, uint64_t address, uint64_t size_bytes)
{
	struct fake_process *target = &world.process[process];

	announce_removal(target, address, address + size_bytes);
	discard_range(target, address, address + size_bytes);
}

/* Takes [address, end) out of the maps; it must lie in one of them. The rest stays. */
static struct fake_map take_map(struct fake_process *process, uint64_t address, uint64_t end)
{
	for (uint32_t i = 0; i < process->map_count; i++) {
		const struct fake_map whole = process->map[i];
		const uint64_t whole_end = whole.address + whole.pages * PAGE_BYTES;
		struct fake_map taken = whole;

		if (address < whole.address || end > whole_end)
			continue;
		process->map[i] = process->map[--process->map_count];
		taken.first += (address - whole.address) / PAGE_BYTES;
		taken.address = address;
		taken.pages = (end - address) / PAGE_BYTES;
		ASSERT(process->map_count + 2 <= MAPS_MAX);
		if (address > whole.address) {
			struct fake_map *head = &process->map[process->map_count++];

			*head = whole;
			head->pages = (address - whole.address) / PAGE_BYTES;
		}
		if (end < whole_end) {
			struct fake_map *tail = &process->map[process->map_count++];

			*tail = whole;
			tail->first = taken.first + taken.pages;
			tail->address = end;
			tail->pages = (whole_end - end) / PAGE_BYTES;
		}
		return taken;
	}
	fake_fail("nothing is mapped at %lx", address);
}

void fake_unmap(uint32_t process, uint64_t address, uint64_t size_bytes)
{
	struct fake_process *target = &world.process[process];
	const struct uffd_message event = {
		.kind = UFFD_UNMAPPED,
		.fd = -1,
		.address = address,
		.end = address + size_bytes,
	};
	struct fake_map gone;

	/* The event is put together before the unmap, and is read after it. */
	if (sends(target, UFFD_EVENTS))
		post_range(target, &event);
	gone = take_map(target, address, address + size_bytes);
	memset(&target->pte[gone.memfd - world.memfd][gone.first], 0,
		gone.pages * sizeof(struct fake_pte));
	fake_wake_range(target, address, address + size_bytes);
}

void fake_move(uint32_t process, uint64_t address, uint64_t size_bytes, uint64_t to)
{
	struct fake_process *target = &world.process[process];
	const struct uffd_message event = {
		.kind = UFFD_MOVED,
		.fd = -1,
		.address = address,
		.end = address + size_bytes,
		.moved_to = to,
	};
	struct fake_map moved;

	if (sends(target, UFFD_EVENTS))
		post_range(target, &event);
	moved = take_map(target, address, address + size_bytes);
	ASSERT(target->map_count < MAPS_MAX);
	moved.address = to;
	target->map[target->map_count++] = moved;
	fake_wake_range(target, address, address + size_bytes);
}

uint32_t fake_fork(uint32_t process)
{
	const uint32_t child = fake_process();
	struct fake_process *from = &world.process[process];
	struct fake_process *to = &world.process[child];
	const uint32_t uffds = world.uffd_count;

	memcpy(to->map, from->map, sizeof(to->map));
	to->map_count = from->map_count;
	for (uint32_t i = 0; i < world.memfd_count; i++)
		memcpy(to->pte[i], from->pte[i], world.memfd[i].pages * sizeof(struct fake_pte));
	for (uint32_t i = 0; i < uffds; i++) {
		struct uffd_message event = {.kind = UFFD_FORKED};
		uint32_t index;

		if (world.uffd[i].process != from || !(world.uffd[i].features & UFFD_EVENTS))
			continue;
		index = world.uffd_count;
		event.fd = fake_uffd(child);
		world.uffd[index].is_ready = true;
		world.uffd[index].features = world.uffd[i].features;
		for (uint32_t j = 0; j < world.memfd_count; j++)
			for (uint64_t page = 0; page < world.memfd[j].pages; page++)
				if (to->pte[j][page].flags & PTE_REGISTERED &&
					to->pte[j][page].uffd == i)
					to->pte[j][page].uffd = (uint8_t)index;
		fake_post(&world.uffd[i], &event);
	}
	return child;
}
