/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes of a VM: descriptors, handshake, registration, and what a zap needs to know of
 * them. Control side; the shards hold their own view (served.c).
 *
 * Order: a shard serves a descriptor before anything is registered on it, and everything is
 * unregistered before the shard lets go of it. So no fault is ever raised that nobody reads.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "engine/command.h"
#include "engine/engine_priv.h"
#include "engine/layout.h"
#include "engine/piece.h"
#include "engine/vm.h"
#include "io/guest.h"
#include "io/uffd.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/probe.h"

static bool wants_wp(const struct vm *vm)
{
	return (vm->engine->features & UFFD_WP_ASYNC_MARK) != 0;
}

static struct vm_header *vm_header(const struct vm *vm)
{
	return vm->header.memory;
}

/* What it is, here and for a successor. */
static void set_registered(struct vm *vm, bool is_registered)
{
	atomic_store(&vm_header(vm)->is_registered, is_registered);
	atomic_store_explicit(&vm->is_registered, is_registered, memory_order_release);
}

/* Fails where the process is dead or has unmapped the range: then there is nothing to do. */
static void unregister_up_to(const struct vm *vm, const struct vm_process *process, uint32_t end)
{
	for (uint32_t chunk = 0; chunk < end;) {
		const struct piece piece = piece_at(vm, chunk);
		const uint64_t address = piece_address(vm, process, chunk);

		if (address != 0)
			(void)uffd_unregister(process->uffd[piece.shard], address,
				piece_bytes(vm, chunk, piece.chunk_count));
		chunk += piece.chunk_count;
	}
}

/* All pieces or none. */
static int register_process(const struct vm *vm, const struct vm_process *process)
{
	for (uint32_t chunk = 0; chunk < vm->chunk_count;) {
		const struct piece piece = piece_at(vm, chunk);
		const uint64_t address = piece_address(vm, process, chunk);
		int error = 0;

		if (address != 0)
			error = uffd_register(process->uffd[piece.shard], address,
				piece_bytes(vm, chunk, piece.chunk_count), wants_wp(vm));
		if (error) {
			unregister_up_to(vm, process, chunk);
			return error;
		}
		PROBE(process, registering);
		chunk += piece.chunk_count;
	}
	return 0;
}

/* Mapped in one run, and of one shard. */
struct owned_run {
	uint64_t address;
	uint64_t size_bytes;
	int uffd;
};

struct run_cursor {
	uint32_t span;
	uint64_t done; /* pages of it */
};

/* Through all that the process mapped when it came. */
static bool next_run(const struct vm *vm, const struct vm_process *process,
	struct run_cursor *cursor, struct owned_run *ret_run)
{
	const struct span *span = &process->spans.span[cursor->span];
	struct piece piece;
	uint64_t page;
	uint64_t count;

	if (cursor->span < process->spans.count && cursor->done == span->pages) {
		*cursor = (struct run_cursor){.span = cursor->span + 1};
		span++;
	}
	if (cursor->span == process->spans.count)
		return false;
	page = span->first_page + cursor->done;
	piece = piece_at(vm, (uint32_t)(page / CHUNK_PAGES));
	count = (uint64_t)(piece.first_chunk + piece.chunk_count) * CHUNK_PAGES - page;
	count = MIN(count, span->pages - cursor->done);
	*ret_run = (struct owned_run){
		.address = span->address + cursor->done * PAGE_BYTES,
		.size_bytes = count * PAGE_BYTES,
		.uffd = process->uffd[piece.shard],
	};
	cursor->done += count;
	return true;
}

/*
 * What a predecessor had registered, or was about to; a second time does nothing. It may have been
 * unmapped a moment ago, which is -EINVAL: the message of that is still to come. Pages may be out:
 * whatever fails, nothing is unregistered.
 */
static int register_again(const struct vm *vm, const struct vm_process *process)
{
	struct run_cursor cursor = {0};
	struct owned_run run;

	while (next_run(vm, process, &cursor, &run)) {
		const int error =
			uffd_register(run.uffd, run.address, run.size_bytes, wants_wp(vm));

		if (error && error != -EINVAL)
			return error;
		PROBE(process, registering);
	}
	return 0;
}

static void wake_all(const struct vm *vm, const struct vm_process *process)
{
	struct run_cursor cursor = {0};
	struct owned_run run;

	while (next_run(vm, process, &cursor, &run))
		(void)uffd_wake(run.uffd, run.address, run.size_bytes);
}

/* It maps nothing; its removal is under way. */
static bool is_dead(int error)
{
	return error == -ESRCH || error == -ENOMEM;
}

static uint32_t wanted_features(const struct vm *vm)
{
	uint32_t features = vm->engine->features & (UFFD_CAN_POISON | UFFD_EVENTS);

	if (wants_wp(vm))
		features |= UFFD_WP | UFFD_WP_ASYNC_MARK;
	if (vm->trust_discard)
		features |= vm->engine->features & UFFD_EVENT_DISCARD;
	return features;
}

/*
 * @is_adopted: of a predecessor, which may have died before it. A second one is -EINVAL, and so are
 * features that are not there: then registering fails.
 */
static int handshake(const struct vm *vm, const struct vm_process *process, bool is_adopted)
{
	for (uint32_t i = 0; i < vm->shard_count; i++) {
		const int error = uffd_handshake(process->uffd[i], wanted_features(vm));

		if (error && !(is_adopted && error == -EINVAL))
			return error;
	}
	return 0;
}

static int spans_of_regions(const struct vm *vm, struct vm_process *process)
{
	int error = 0;

	for (uint32_t i = 0; i < vm->region_count && !error; i++) {
		const struct region *region = &vm->region[i];

		if (process->address[i] != 0)
			error = spans_add(&process->spans, process->address[i],
				region->size_bytes / PAGE_BYTES,
				(uint64_t)region->first_chunk * CHUNK_PAGES);
	}
	return error;
}

static int spans_of_runs(
	const struct vm *vm, const struct process_spec *spec, struct vm_process *process)
{
	int error = 0;

	for (uint32_t i = 0; i < spec->run_count && !error; i++) {
		const struct process_run *run = &spec->runs[i];
		const struct region *region = &vm->region[run->region];

		ASSERT(run->region < vm->region_count);
		ASSERT(run->offset + run->size_bytes <= region->size_bytes);
		error = spans_add(&process->spans, run->address, run->size_bytes / PAGE_BYTES,
			(uint64_t)region->first_chunk * CHUNK_PAGES + run->offset / PAGE_BYTES);
	}
	return error;
}

/* One command to one shard, answered. */
static int64_t tell(struct vm *vm, uint32_t shard, struct command *command)
{
	command->magic = COMMAND_MAGIC;
	command->vm = vm;
	command->reply = vm->reply;
	engine_call(vm->engine, shard, command);
	return command->outcome;
}

static void unserve(struct vm *vm, uint32_t index, uint32_t shard_count)
{
	for (uint32_t i = 0; i < shard_count; i++) {
		struct command command = {.kind = COMMAND_UNSERVE, .process = index};

		(void)tell(vm, i, &command);
	}
}

static int serve(struct vm *vm, uint32_t index)
{
	struct vm_process *process = &vm->process[index];
	int error = 0;

	for (uint32_t i = 0; !error && i < vm->shard_count; i++) {
		struct command command = {
			.kind = COMMAND_SERVE,
			.process = index,
			.uffd = process->uffd[i],
			.tag = process->tag,
			.spans = &process->spans,
		};

		error = (int)tell(vm, i, &command);
		if (error)
			unserve(vm, index, i);
	}
	return error;
}

static void process_close(const struct vm *vm, struct vm_process *process)
{
	for (uint32_t i = 0; i < vm->shard_count; i++)
		close_fd(process->uffd[i]); /* @control close */
	close_fd(process->pidfd);	    /* @control close */
	close_fd(process->pagemap);	    /* @control close */
	memset(process, 0, sizeof(*process));
}

static int process_open(
	const struct vm *vm, const struct process_spec *spec, struct vm_process *process)
{
	memset(process, 0, sizeof(*process));
	process->is_used = true;
	process->pid = spec->pid;
	process->tag = spec->tag;
	process->pidfd = errno_of(fcntl(spec->pidfd, F_DUPFD_CLOEXEC, 3)); /* @control fcntl */
	process->pagemap = guest_pagemap_open(spec->pid);
	memcpy(process->uffd, spec->uffds, vm->shard_count * sizeof(process->uffd[0]));
	memcpy(process->address, spec->address, vm->region_count * sizeof(process->address[0]));
	if (process->pidfd < 0)
		return process->pidfd;
	return spec->runs ? spans_of_runs(vm, spec, process) : spans_of_regions(vm, process);
}

/* Registers for good, or for a moment to learn whether it can be done. */
static int probe_or_register(const struct vm *vm, const struct vm_process *process)
{
	const int error = register_process(vm, process);

	if (!error && !vm_is_registered(vm))
		unregister_up_to(vm, process, vm->chunk_count);
	return error;
}

static uint32_t find_free(const struct vm *vm)
{
	uint32_t index = 0;

	while (index < PROCESSES_MAX && vm->process[index].is_used)
		index++;
	return index;
}

/*
 * A page is clean by mark only if it is clean in every process, and a process that never mapped it
 * has no mark to show: with a second process, digests decide from now on.
 */
static void decide_marks(struct vm *vm)
{
	if (vm->process_count == 0 && !vm_is_registered(vm))
		atomic_store(&vm->has_marks, wants_wp(vm));
	else
		atomic_store(&vm->has_marks, false);
}

/*
 * Before a shard may hear of it. Pairs with vm_piece_address(), which does not zap at an address
 * that is something else by now.
 */
static void set_moved(struct vm *vm, uint32_t index, bool has_moved)
{
	if (has_moved)
		atomic_fetch_or(&vm->moved_processes, 1u << index);
	else
		atomic_fetch_and(&vm->moved_processes, ~(1u << index));
}

/* A process in a free place, served but not counted yet. On error its descriptors are closed. */
static int open_and_serve(
	struct vm *vm, const struct process_spec *spec, bool is_adopted, uint32_t *ret_index)
{
	const uint32_t index = find_free(vm);
	int error;

	if (index == PROCESSES_MAX) {
		for (uint32_t i = 0; i < vm->shard_count; i++)
			close_fd(spec->uffds[i]); /* @control close */
		return -ENOSPC;
	}
	error = process_open(vm, spec, &vm->process[index]);
	if (!error)
		error = handshake(vm, &vm->process[index], is_adopted);
	set_moved(vm, index, spec->runs != NULL);
	if (!error)
		error = serve(vm, index);
	if (error) {
		process_close(vm, &vm->process[index]);
		return error;
	}
	decide_marks(vm);
	*ret_index = index;
	return 0;
}

int vm_process_add(struct vm *vm, const struct process_spec *spec, uint32_t *ret_process)
{
	uint32_t index;
	int error = open_and_serve(vm, spec, false, &index);

	if (error)
		return error;
	PROBE(process, served);
	error = probe_or_register(vm, &vm->process[index]);
	if (error) {
		unserve(vm, index, vm->shard_count);
		process_close(vm, &vm->process[index]);
		return error;
	}
	vm->process_count++;
	*ret_process = index;
	return 0;
}

int vm_process_adopt(struct vm *vm, const struct process_spec *spec, uint32_t *ret_process)
{
	const int error = open_and_serve(vm, spec, true, ret_process);

	if (!error)
		vm->process_count++;
	return error;
}

void vm_process_remove(struct vm *vm, uint32_t index)
{
	struct vm_process *process = &vm->process[index];

	ASSERT(index < PROCESSES_MAX);
	ASSERT(process->is_used);
	unregister_up_to(vm, process, vm->chunk_count);
	PROBE(process, unregistered);
	unserve(vm, index, vm->shard_count);
	set_moved(vm, index, false);
	process_close(vm, process);
	vm->process_count--;
	if (vm->process_count == 0)
		set_registered(vm, false);
}

uint32_t vm_process_count(const struct vm *vm)
{
	return vm->process_count;
}

static void unregister_all(struct vm *vm, uint32_t end)
{
	for (uint32_t i = 0; i < end; i++)
		if (vm->process[i].is_used)
			unregister_up_to(vm, &vm->process[i], vm->chunk_count);
}

int vm_register(struct vm *vm)
{
	/* At an address of before may be something else. */
	if (atomic_load_explicit(&vm->moved_processes, memory_order_acquire) != 0)
		return -ESTALE;
	atomic_store(&vm_header(vm)->is_registered, true);
	PROBE(process, noted);
	for (uint32_t i = 0; i < PROCESSES_MAX; i++) {
		int error = 0;

		if (vm->process[i].is_used)
			error = register_process(vm, &vm->process[i]);
		if (error && !is_dead(error)) {
			unregister_all(vm, i);
			set_registered(vm, false);
			return error;
		}
	}
	set_registered(vm, true);
	return 0;
}

int vm_resume(struct vm *vm)
{
	int error = 0;

	if (!atomic_load(&vm_header(vm)->is_registered) || vm->process_count == 0) {
		/* It may have died before the last range was given back. */
		unregister_all(vm, PROCESSES_MAX);
		set_registered(vm, false);
		return 0;
	}
	for (uint32_t i = 0; i < PROCESSES_MAX && (!error || is_dead(error)); i++)
		error = vm->process[i].is_used ? register_again(vm, &vm->process[i]) : 0;
	if (error && !is_dead(error))
		return error;
	set_registered(vm, true);
	PROBE(adopt, registered);
	/* Whoever waits faults again: what the predecessor had read is not there any more. */
	for (uint32_t i = 0; i < PROCESSES_MAX; i++)
		if (vm->process[i].is_used)
			wake_all(vm, &vm->process[i]);
	return 0;
}

/* As after a fork it has what its parent has, and one descriptor a shard. */
static void wake_child(const struct vm *vm, uint32_t process, uint32_t shard, int uffd)
{
	struct vm_process child = vm->process[process];

	for (uint32_t i = 0; i < vm->shard_count; i++)
		child.uffd[i] = i == shard ? uffd : -1;
	wake_all(vm, &child);
}

int vm_child_adopt(struct vm *vm, uint32_t process, const struct engine_child *child, int uffd)
{
	struct command command = {
		.kind = COMMAND_SERVE_CHILD,
		.process = process,
		.uffd = uffd,
		.child_number = child->number,
	};
	int error = -EINVAL;

	ASSERT(process < PROCESSES_MAX);
	ASSERT(vm_is_registered(vm));
	if (child->shard < vm->shard_count)
		error = (int)tell(vm, child->shard, &command);
	if (error)
		close_fd(uffd); /* @control close */
	else
		wake_child(vm, process, child->shard, uffd);
	return error;
}

/* How often a call that must not fail is tried again when the kernel says so. */
#define POISON_TRIES 1000

/* Without us a poisoned page must go on being one in every process, late comers included. */
static int poison_page(const struct vm *vm, uint64_t page)
{
	const uint32_t chunk = (uint32_t)(page / CHUNK_PAGES);

	for (uint32_t i = 0; i < PROCESSES_MAX; i++) {
		const struct vm_process *process = &vm->process[i];
		const uint64_t address = process->is_used ? piece_address(vm, process, chunk) : 0;
		int error = -EAGAIN;
		uint64_t done;

		if (address == 0)
			continue;
		for (int try = 0; try < POISON_TRIES && error == -EAGAIN; try++)
			error = uffd_poison(process->uffd[vm_owner(vm, chunk)],
				address + page % CHUNK_PAGES * PAGE_BYTES, PAGE_BYTES, &done);
		if (error && error != -EEXIST && error != -ESRCH && error != -ENOENT)
			return -EBUSY;
	}
	return 0;
}

/* -EBUSY when a page of the chunk is not in RAM and could read as zeros without us. */
static int check_chunk_is_in(const struct vm *vm, uint32_t chunk)
{
	for (uint32_t i = 0; i < CHUNK_PAGES; i++) {
		const uint64_t page = (uint64_t)chunk * CHUNK_PAGES + i;
		const enum page_state state = page_state_of(page_load(&vm->table, page));
		int error = 0;

		if (state == PAGE_SWAPPED || state == PAGE_READING || state == PAGE_PUNCHING)
			error = -EBUSY;
		else if (state == PAGE_POISONED)
			error = poison_page(vm, page);
		if (error)
			return error;
	}
	return 0;
}

static int check_all_is_in(const struct vm *vm)
{
	for (uint32_t chunk = 0; chunk < vm->chunk_count; chunk++) {
		int error = 0;

		if (atomic_load(&vm->table.chunks[chunk].out) != 0)
			error = check_chunk_is_in(vm, chunk);
		if (error)
			return error;
	}
	return 0;
}

int vm_unregister(struct vm *vm)
{
	const int error = check_all_is_in(vm);

	if (error)
		return error;
	unregister_all(vm, PROCESSES_MAX);
	PROBE(process, released);
	for (uint32_t i = 0; i < vm->shard_count; i++) {
		struct command command = {.kind = COMMAND_FORGET_CHILDREN};

		(void)tell(vm, i, &command);
	}
	set_registered(vm, false);
	return 0;
}
