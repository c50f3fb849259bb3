/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order within one fault: the state is moved before the page is mapped. A daemon that dies between
 * the two leaves a RESIDENT page that nobody maps, which the next touch heals; the other order
 * would leave a mapped page that looks staged, and could be punched under its user.
 *
 * Slots and faults. With write marks (one process, asynchronous marks) a slot survives a fault only
 * if the page is settled clean and the fault is a read: the page is mapped with its mark armed, and
 * the next zap and scan tell whether it was written. Everything else is mapped plainly and drops
 * the slot; arming a mark on a page that is not settled would declare a dirty page clean (design.md
 * 3, rule 1b). Without marks a slot survives reads and its digest decides when the page is staged
 * again.
 */
#include "engine/fault.h"

#include <errno.h>

#include "engine/event.h"
#include "engine/fill.h"
#include "engine/park.h"
#include "engine/recorder.h"
#include "engine/resolve.h"
#include "engine/shard.h"
#include "engine/stream.h"
#include "io/uffd.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/probe.h"

static bool vm_uses_marks(const struct vm *vm)
{
	return atomic_load_explicit(&vm->has_marks, memory_order_relaxed);
}

static void count_served(struct shard *shard, const struct fault *fault, enum latency latency)
{
	static const enum counter stat[LATENCY_COUNT] = {
		[LATENCY_STAGED] = STAT_faults_staged,
		[LATENCY_FILE] = STAT_faults_file,
		[LATENCY_ZERO] = STAT_faults_zero,
	};
	struct stats_block *stats = shard_stats(shard, fault->served->vm);
	struct recorder *recorder = shard_of_vm(shard, fault->served->vm)->recorder;

	stats_add(stats, stat[latency], 1);
	histogram_add(&stats->latency[latency], clock_ns() - fault->read_ns);
	if (recorder)
		recorder_add(recorder, latency, fault->page, fault->is_write, fault->read_ns);
}

/* The page is in RAM and may be mapped elsewhere, or holds nothing. */
static bool serve_present(struct shard *shard, const struct fault *fault, page_word word)
{
	struct vm *vm = fault->served->vm;
	struct stats_block *stats = shard_stats(shard, vm);
	const bool was_empty = page_state_of(word) == PAGE_EMPTY;
	enum resolved resolved;

	if (page_has_slot(word) && (fault->is_write || !fault->is_minor || vm_uses_marks(vm)))
		shard_drop_slot(shard, vm, fault->page, PAGE_RESIDENT);
	if (fault->is_minor)
		resolved = resolve_cached(fault->served, fault->page, 1, false);
	else
		resolved = resolve_missing(fault->served, fault->page);
	switch (resolved) {
	case RESOLVED_LATER: return false;
	case RESOLVED_GONE: return true;
	case RESOLVED_PRESENT: stats_add(stats, STAT_faults_redundant, 1); break;
	case RESOLVED_MAPPED: count_served(shard, fault, LATENCY_STAGED); break;
	case RESOLVED_ZERO:
		count_served(shard, fault, LATENCY_ZERO);
		if (!was_empty)
			stats_add(stats, STAT_removed_pages, 1);
		if (page_has_slot(page_load(&vm->table, fault->page)))
			shard_drop_slot(shard, vm, fault->page, PAGE_RESIDENT);
		break;
	}
	if (was_empty) {
		PROBE(fault, zeroed);
		page_move(&vm->table, stats, fault->page, page_plain(PAGE_RESIDENT));
	}
	return true;
}

/* Staged pages from @page on that can be mapped by one call with the first. */
static uint32_t count_staged(const struct vm *vm, uint64_t page, uint32_t wanted, bool must_match)
{
	const page_word first = page_load(&vm->table, page);
	const uint32_t in_chunk = CHUNK_PAGES - (uint32_t)(page % CHUNK_PAGES);
	uint32_t count = 1;

	for (; count < MIN(wanted, in_chunk); count++) {
		const page_word word = page_load(&vm->table, page + count);

		if (page_state_of(word) != PAGE_STAGED)
			break;
		if (must_match && page_is_clean(word) != page_is_clean(first))
			break;
	}
	return count;
}

/* A staged page becomes resident, with its slot if @keeps_slot. A write in flight keeps its slot
 * itself. */
static void unstage(struct shard *shard, struct vm *vm, uint64_t page, bool keeps_slot)
{
	const page_word word = page_load(&vm->table, page);
	struct stats_block *stats = shard_stats(shard, vm);

	if (page_state_of(word) == PAGE_WRITING || !page_has_slot(word))
		page_move(&vm->table, stats, page, page_plain(PAGE_RESIDENT));
	else if (keeps_slot)
		page_move(&vm->table, stats, page,
			page_with_slot(PAGE_RESIDENT, page_slot_of(word), 0));
	else
		shard_drop_slot(shard, vm, page, PAGE_RESIDENT);
}

static bool serve_staged(struct shard *shard, const struct fault *fault, page_word word)
{
	struct vm *vm = fault->served->vm;
	struct stats_block *stats = shard_stats(shard, vm);
	const bool marks = vm_uses_marks(vm);
	const bool with_mark = marks && page_is_clean(word) && !fault->is_write;
	struct stream *stream = stream_hit(shard_of_vm(shard, vm), fault->page);
	const uint32_t count = count_staged(vm, fault->page, stream->window, marks);
	enum resolved resolved;

	stream_advance(stream, fault->page + count);
	for (uint32_t i = 0; i < count; i++) {
		const bool is_written = i == 0 && fault->is_write;

		unstage(shard, vm, fault->page + i, marks ? with_mark : !is_written);
	}
	PROBE(fault, unstaged);
	resolved = resolve_cached(fault->served, fault->page, count, with_mark);
	PROBE(fault, mapped);
	switch (resolved) {
	case RESOLVED_LATER: return false;
	case RESOLVED_GONE: return true;
	case RESOLVED_MAPPED: count_served(shard, fault, LATENCY_STAGED); return true;
	case RESOLVED_PRESENT: stats_add(stats, STAT_faults_redundant, 1); break;
	case RESOLVED_ZERO:
		count_served(shard, fault, LATENCY_ZERO);
		stats_add(stats, STAT_removed_pages, 1);
		break;
	}
	/* What is mapped there now is not what the slot holds, or has no mark. */
	if (page_has_slot(page_load(&vm->table, fault->page)))
		shard_drop_slot(shard, vm, fault->page, PAGE_RESIDENT);
	return true;
}

/* Swapped pages from @page on whose slots follow each other: one read brings them. */
static uint32_t count_swapped(const struct vm *vm, uint64_t page, uint32_t wanted)
{
	const uint32_t slot = page_slot_of(page_load(&vm->table, page));
	const uint32_t in_chunk = CHUNK_PAGES - (uint32_t)(page % CHUNK_PAGES);
	uint32_t count = 1;

	for (; count < MIN(wanted, in_chunk); count++) {
		const page_word word = page_load(&vm->table, page + count);

		if (page_state_of(word) != PAGE_SWAPPED || page_slot_of(word) != slot + count)
			break;
	}
	return count;
}

static bool serve_swapped(struct shard *shard, const struct fault *fault)
{
	struct vm *vm = fault->served->vm;
	struct vm_shard *mine = shard_of_vm(shard, vm);
	struct stream *stream;
	uint32_t count;

	if (shard->fills.fault_free == 0)
		return false;
	stream = stream_hit(mine, fault->page);
	count = count_swapped(vm, fault->page, MIN(stream->window, FAULT_READ_PAGES));
	stream_advance(stream, fault->page + count);
	if (!fill_begin_fault(
		    shard, fault->served, fault->page, count, fault->is_write, fault->read_ns))
		return false;
	if (!mine->is_plain && replay_fault(&mine->replays, &vm->table, fault->page, count))
		shard_want_replay(shard, fault->served);
	return true;
}

static void serve_reading(struct shard *shard, const struct fault *fault)
{
	struct vm *vm = fault->served->vm;
	struct replay_run run;

	if (!fill_claim(shard, fault, &run)) {
		stats_add(shard_stats(shard, vm), STAT_faults_redundant, 1);
		return;
	}
	stats_add(shard_stats(shard, vm), STAT_replay_hits, 1);
	if (replay_seen(&shard_of_vm(shard, vm)->replays, run.id, run.at, run.page))
		shard_want_replay(shard, fault->served);
}

bool fault_serve(struct shard *shard, const struct fault *fault)
{
	struct vm *vm = fault->served->vm;
	const page_word word = page_load(&vm->table, fault->page);

	shard_assert_owner(shard);
	ASSERT(vm_owner(vm, (uint32_t)(fault->page / CHUNK_PAGES)) == shard->id);
	switch (page_state_of(word)) {
	case PAGE_EMPTY:
	case PAGE_RESIDENT: return serve_present(shard, fault, word);
	case PAGE_STAGED:
	case PAGE_WRITING: return serve_staged(shard, fault, word);
	case PAGE_PUNCHING: return false;
	case PAGE_SWAPPED: return serve_swapped(shard, fault);
	case PAGE_READING: serve_reading(shard, fault); return true;
	case PAGE_POISONED: resolve_poison(shard, vm, fault->page); return true;
	case PAGE_STATES: break;
	}
	UNREACHABLE();
}

/* The page whose owner we are at @address, or false: nothing of ours, woken so that nobody waits.
 */
static bool page_of_message(const struct shard *shard, const struct served *served,
	uint64_t address, uint64_t *ret_page)
{
	address &= ~(uint64_t)(PAGE_BYTES - 1);
	if (spans_page(&served->spans, address, ret_page) &&
		vm_owner(served->vm, (uint32_t)(*ret_page / CHUNK_PAGES)) == shard->id)
		return true;
	(void)uffd_wake(served->uffd, address, PAGE_BYTES);
	return false;
}

/* Synchronous write protection is never asked for; a message of it is answered all the same. */
static void serve_protected(struct shard *shard, const struct served *served, uint64_t page)
{
	uint32_t pages = 1;
	uint64_t address;

	if (page_state_of(page_load(&served->vm->table, page)) == PAGE_RESIDENT &&
		page_has_slot(page_load(&served->vm->table, page)))
		shard_drop_slot(shard, served->vm, page, PAGE_RESIDENT);
	if (resolve_address(served, page, &pages, &address) &&
		uffd_unprotect(served->uffd, address, PAGE_BYTES))
		resolve_wake(served, page, 1);
}

static void handle_fault(struct shard *shard, struct served *served,
	const struct uffd_message *message, uint64_t now)
{
	struct fault fault = {
		.served = served,
		.read_ns = now,
		.is_write = message->is_write,
		.is_minor = message->kind == UFFD_FAULT_MINOR,
	};

	if (!page_of_message(shard, served, message->address, &fault.page))
		return;
	if (message->kind == UFFD_FAULT_WP)
		serve_protected(shard, served, fault.page);
	else if (!fault_serve(shard, &fault))
		park_fault(shard, &fault);
}

static bool read_ahead(struct shard *shard, struct served *served)
{
	struct vm *vm = served->vm;
	struct replays *replays = &shard_of_vm(shard, vm)->replays;
	struct replay_run run;
	bool is_busy = false;

	/* Ends: each turn of it takes a buffer, or cuts a replay. */
	while (replay_next(replays, &vm->table, &run)) {
		uint64_t address;

		ASSERT(vm_owner(vm, (uint32_t)(run.page / CHUNK_PAGES)) == shard->id);
		if (!resolve_address(served, run.page, &run.count, &address)) {
			replay_cut(replays, &run);
			continue;
		}
		if (!fill_begin_replay(shard, served, &run))
			break;
		replay_brought(replays, &vm->table, &run);
		is_busy = true;
	}
	return is_busy;
}

bool fault_read_ahead(struct shard *shard)
{
	bool is_busy = false;

	shard_assert_owner(shard);
	shard->has_replays = false;
	for (uint32_t i = 0; i < shard->served_end; i++) {
		struct served *served = &shard->served[i];

		if (!served->vm || !served->is_replayed)
			continue;
		served->is_replayed = false;
		if (!served->leaving && !served->is_dead)
			is_busy |= read_ahead(shard, served);
	}
	return is_busy;
}

bool fault_read_messages(struct shard *shard, struct served *served)
{
	struct uffd_message message[UFFD_BATCH_MAX];
	uint64_t kept;
	const int got = event_read(shard, served, message, &kept);
	const uint64_t now = got > 0 ? clock_ns() : 0;

	shard_assert_owner(shard);
	ASSERT(got <= (int)UFFD_BATCH_MAX);
	/* Less than a batch: empty. More may come meanwhile, and the poll will say so. */
	served->is_readable = got == (int)UFFD_BATCH_MAX;
	if (got <= 0)
		return false;
	served->message_ns = now;
	PROBE(fault, read);
	for (int i = 0; i < got; i++) {
		switch (message[i].kind) {
		case UFFD_FAULT_MISSING:
		case UFFD_FAULT_MINOR:
		case UFFD_FAULT_WP: handle_fault(shard, served, &message[i], now); break;
		case UFFD_REMOVED:
		case UFFD_UNMAPPED:
		case UFFD_MOVED:
		case UFFD_OTHER: event_handle(shard, served, &message[i]); break;
		case UFFD_FORKED:
			event_forked(
				shard, served, (uint32_t)i, message[i].fd, (kept >> i & 1) != 0);
			break;
		}
	}
	return true;
}
