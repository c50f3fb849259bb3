/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/event.h"

#include <errno.h>

#include "engine/engine_priv.h"
#include "engine/served.h"
#include "engine/shard.h"
#include "io/uffd.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/probe.h"

/* Swapped pages of one chunk, given back by the guest. */
static void discard_in_chunk(struct shard *shard, struct vm *vm, uint64_t page, uint64_t end)
{
	const struct chunk_summary *chunk = page_chunk(&vm->table, page);

	if (atomic_load_explicit(&chunk->out, memory_order_relaxed) == 0)
		return;
	if (chunk_is_zapped(chunk))
		return;
	for (; page < end; page++) {
		const page_word word = page_load(&vm->table, page);

		if (page_state_of(word) != PAGE_SWAPPED || page_is_stuck(word))
			continue;
		shard_drop_slot(shard, vm, page, PAGE_EMPTY);
		stats_add(shard_stats(shard, vm), STAT_removed_pages, 1);
	}
}

static void handle_removed(
	struct shard *shard, struct served *served, uint64_t address, uint64_t end)
{
	struct vm *vm = served->vm;

	if (!vm->trust_discard)
		return;
	while (address < end) {
		const uint64_t step = MIN(end, (address / CHUNK_BYTES + 1) * CHUNK_BYTES);
		uint64_t page;
		uint64_t stop;

		if (spans_page(&served->spans, address, &page)) {
			/* Guest chunks may lie askew to addresses: clip at the page's own chunk. */
			stop = MIN(page + (step - address) / PAGE_BYTES,
				(page / CHUNK_PAGES + 1) * CHUNK_PAGES);
			if (vm_owner(vm, (uint32_t)(page / CHUNK_PAGES)) == shard->id)
				discard_in_chunk(shard, vm, page, stop);
			address += (stop - page) * PAGE_BYTES;
		} else {
			address = step;
		}
	}
}

static void post(struct shard *shard, const struct served *served, enum engine_event_kind kind,
	uint64_t address, int error)
{
	shard_post(shard, &(struct engine_event){
				  .kind = kind,
				  .vm = served->vm,
				  .process = served->process,
				  .page = address,
				  .error = error,
			  });
}

static void layout_changed(struct shard *shard, struct served *served, enum engine_event_kind kind,
	uint64_t address, int error)
{
	/* pairs with vm_piece_address(): no zap at an address that is something else by now */
	if (!served->is_child)
		atomic_fetch_or_explicit(
			&served->vm->moved_processes, 1u << served->process, memory_order_release);
	post(shard, served, kind, address, error);
}

static uint64_t keep_children(struct shard *shard, const struct served *parent,
	const struct uffd_message *messages, uint32_t count)
{
	const struct children_home *home = &shard->engine->children;
	struct engine_child child = {parent->tag, shard->id, shard->next_child};
	uint64_t kept = 0;

	ASSERT(count <= UFFD_BATCH_MAX);
	for (uint32_t i = 0; i < count && home->keep; i++) {
		if (messages[i].kind != UFFD_FORKED)
			continue;
		PROBE(fault, forked);
		if (home->keep(home->context, &child, messages[i].fd) == 0)
			kept |= 1ull << i;
		child.number++;
	}
	return kept;
}

int event_read(struct shard *shard, const struct served *parent, struct uffd_message *ret_messages,
	uint64_t *ret_kept)
{
	struct child_board *board = shard->board;
	int got;

	shard_assert_owner(shard);
	/* Whose children these are, before there are any: all others on the board are forgotten. */
	board->tag = parent->tag;
	board->number = shard->next_child;
	got = uffd_read(parent->uffd, &board->messages, ret_messages, UFFD_BATCH_MAX);
	*ret_kept = got > 0 ? keep_children(shard, parent, ret_messages, (uint32_t)got) : 0;
	return got;
}

void event_forked(
	struct shard *shard, struct served *served, uint32_t index, int uffd, bool is_kept)
{
	const uint32_t number = shard->next_child++;
	int error;

	shard_assert_owner(shard);
	ASSERT(uffd >= 0);
	served_reap_children(shard, served->vm);
	error = served_add_child(shard, served, uffd, number);
	uffd_inbox_forget_child(&shard->board->messages, index);
	/* Who is not served waits. If nobody had its descriptor it would read zeros instead. */
	if (error && is_kept)
		close_fd(uffd); /* @shard close */
	if (!error && !is_kept && shard->engine->children.keep)
		error = -ENOTCONN;
	post(shard, served, ENGINE_PROCESS_FORKED, 0, error);
}

void event_handle(struct shard *shard, struct served *served, const struct uffd_message *message)
{
	int error;

	shard_assert_owner(shard);
	ASSERT(served->vm != NULL);
	switch (message->kind) {
	case UFFD_REMOVED: handle_removed(shard, served, message->address, message->end); break;
	case UFFD_UNMAPPED:
		error = spans_remove(&served->spans, message->address, message->end);
		layout_changed(shard, served, ENGINE_RANGE_UNMAPPED, message->address, error);
		break;
	case UFFD_MOVED:
		error = spans_move(
			&served->spans, message->address, message->end, message->moved_to);
		layout_changed(shard, served, ENGINE_RANGE_MOVED, message->address, error);
		break;
	case UFFD_FAULT_MISSING:
	case UFFD_FAULT_MINOR:
	case UFFD_FAULT_WP:
	case UFFD_FORKED:
	case UFFD_OTHER: break;
	}
}
