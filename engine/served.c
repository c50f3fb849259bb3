/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/served.h"

#include <errno.h>

#include "engine/command.h"
#include "engine/engine_priv.h"
#include "engine/park.h"
#include "engine/shard.h"
#include "io/token.h"
#include "io/uffd.h"
#include "io/uring.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

static uint32_t index_of(const struct shard *shard, const struct served *served)
{
	ASSERT(served >= shard->served);
	ASSERT(served < shard->served + SERVED_MAX);
	return (uint32_t)(served - shard->served);
}

static void arm(struct shard *shard, struct served *served)
{
	ASSERT(!served->is_polled);
	uring_poll(shard->ring, token_make(TOKEN_UFFD, 0, index_of(shard, served)), served->uffd);
	served->is_polled = true;
}

static void unpoll(struct shard *shard, const struct served *served)
{
	const uint32_t index = index_of(shard, served);

	uring_poll_cancel(
		shard->ring, token_make(TOKEN_UNPOLL, 0, index), token_make(TOKEN_UFFD, 0, index));
}

static struct served *find_free(struct shard *shard)
{
	for (uint32_t i = 0; i < SERVED_MAX; i++) {
		if (shard->served[i].vm)
			continue;
		shard->served_end = MAX(shard->served_end, i + 1);
		return &shard->served[i];
	}
	return NULL;
}

/* NULL: there are too many. */
static struct served *add(struct shard *shard, const struct served *from)
{
	struct vm_shard *mine = shard_of_vm(shard, from->vm);
	struct served *served = find_free(shard);

	if (!served || mine->served_count == PROCESSES_MAX)
		return NULL;
	*served = *from;
	mine->served[mine->served_count++] = served;
	arm(shard, served);
	/* Messages from before the poll was armed. */
	served->is_readable = true;
	return served;
}

int served_add(struct shard *shard, const struct command *command)
{
	const struct served served = {
		.vm = command->vm,
		.process = command->process,
		.uffd = command->uffd,
		.tag = command->tag,
		.spans = *command->spans,
	};

	shard_assert_owner(shard);
	ASSERT(command->kind == COMMAND_SERVE);
	return add(shard, &served) ? 0 : -ENOSPC;
}

static struct child_record *record_of(const struct shard *shard, const struct served *served)
{
	return &shard->board->served[index_of(shard, served)];
}

int served_add_child(
	struct shard *shard, const struct served *parent, int uffd, uint32_t child_number)
{
	struct served child = *parent;
	const struct served *served;

	shard_assert_owner(shard);
	ASSERT(uffd >= 0);
	child.uffd = uffd;
	child.is_child = true;
	child.child_number = child_number;
	child.is_dead = false;
	child.is_replayed = false;
	child.is_polled = false;
	child.leaving = NULL;
	child.fills = 0;
	served = add(shard, &child);
	if (!served)
		return -ENOSPC;
	child_record_set(record_of(shard, served), child.tag, child_number, uffd);
	return 0;
}

/* That of the process itself; NULL: it is not served. */
static struct served *served_of_process(const struct shard *shard, const struct command *command)
{
	const struct vm_shard *mine = shard_of_vm(shard, command->vm);

	for (uint32_t i = 0; i < mine->served_count; i++)
		if (mine->served[i]->process == command->process && !mine->served[i]->is_child)
			return mine->served[i];
	return NULL;
}

int served_adopt_child(struct shard *shard, const struct command *command)
{
	const struct served *parent = served_of_process(shard, command);

	shard_assert_owner(shard);
	ASSERT(command->kind == COMMAND_SERVE_CHILD);
	/* Numbers are not used twice: by them others tell the children apart. */
	shard->next_child = MAX(shard->next_child, command->child_number + 1);
	if (!parent)
		return -ESRCH;
	return served_add_child(shard, parent, command->uffd, command->child_number);
}

static void begin_leaving(struct shard *shard, struct served *served, struct command *command)
{
	ASSERT(!served->leaving);
	served->leaving = command;
	served->is_readable = false;
	park_forget(shard, served);
	unpoll(shard, served);
}

static void close_child(struct shard *shard, const struct served *served)
{
	const struct children_home *home = &shard->engine->children;
	const struct engine_child child = {served->tag, shard->id, served->child_number};

	/* pairs with fork_guard.c: the number may be another descriptor's from now on */
	atomic_store_explicit(&record_of(shard, served)->tag, 0, memory_order_seq_cst);
	close_fd(served->uffd); /* @shard close */
	if (home->drop)
		home->drop(home->context, &child);
}

static void forget(struct shard *shard, struct served *served)
{
	struct vm_shard *mine = shard_of_vm(shard, served->vm);
	struct command *command = served->leaving;

	for (uint32_t i = 0; i < mine->served_count; i++)
		if (mine->served[i] == served)
			mine->served[i] = mine->served[--mine->served_count];
	if (served->is_child)
		close_child(shard, served);
	served->vm = NULL;
	served->leaving = NULL;
	if (command->kind == COMMAND_UNSERVE)
		shard_answer(shard, command);
}

/* A descriptor's end is the VM's leave to go, so the children go first. */
static bool has_leaving_children(const struct shard *shard, struct vm *vm)
{
	const struct vm_shard *mine = shard_of_vm(shard, vm);

	for (uint32_t i = 0; i < mine->served_count; i++)
		if (mine->served[i]->is_child && mine->served[i]->leaving)
			return true;
	return false;
}

bool served_finish(struct shard *shard)
{
	bool is_busy = false;

	shard_assert_owner(shard);
	for (uint32_t i = 0; i < shard->served_end; i++) {
		struct served *served = &shard->served[i];

		if (!served->vm || !served->leaving || served->is_polled || served->fills > 0)
			continue;
		if (!served->is_child && has_leaving_children(shard, served->vm))
			continue;
		park_forget(shard, served);
		forget(shard, served);
		is_busy = true;
	}
	return is_busy;
}

/* Stands for "no command waits" in a child that leaves. */
static struct command child_leaves = {.kind = COMMAND_FORGET_CHILDREN};

static void drop_children(struct shard *shard, struct vm *vm, bool only_dead)
{
	struct vm_shard *mine = shard_of_vm(shard, vm);

	shard_assert_owner(shard);
	for (uint32_t i = 0; i < mine->served_count; i++) {
		struct served *served = mine->served[i];

		if (served->is_child && !served->leaving &&
			(!only_dead || uffd_is_orphan(served->uffd)))
			begin_leaving(shard, served, &child_leaves);
	}
}

void served_reap_children(struct shard *shard, struct vm *vm)
{
	drop_children(shard, vm, true);
}

void served_forget_children(struct shard *shard, struct vm *vm)
{
	drop_children(shard, vm, false);
}

static uint32_t count_parents(const struct vm_shard *mine)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < mine->served_count; i++)
		count += !mine->served[i]->is_child;
	return count;
}

void served_leave(struct shard *shard, struct command *command)
{
	const struct vm_shard *mine = shard_of_vm(shard, command->vm);
	struct served *served = served_of_process(shard, command);

	shard_assert_owner(shard);
	/* With its last process the VM goes, and with it what its children could be served from. */
	if (count_parents(mine) == 1)
		served_forget_children(shard, command->vm);
	ASSERT(served != NULL);
	begin_leaving(shard, served, command);
}

void served_poll_done(struct shard *shard, uint32_t index, int32_t result, bool has_more)
{
	struct served *served = &shard->served[index];

	shard_assert_owner(shard);
	ASSERT(index < SERVED_MAX);
	ASSERT(served->vm != NULL);
	served->is_readable = !served->leaving;
	if (has_more)
		return;
	served->is_polled = false;
	if (!served->leaving && result >= 0)
		arm(shard, served);
}

void served_unpoll_done(struct shard *shard, uint32_t index, int32_t result)
{
	const struct served *served = &shard->served[index];

	shard_assert_owner(shard);
	ASSERT(index < SERVED_MAX);
	/* Ends: what was in the way is reported by now, and a leaving one is not armed again. */
	if (result < 0 && served->vm && served->leaving && served->is_polled)
		unpoll(shard, served);
}

static bool is_gone(const struct served *served)
{
	return served->leaving || served->is_dead;
}

struct served *served_of_page(const struct shard *shard, struct vm *vm, uint64_t page)
{
	const struct vm_shard *mine = shard_of_vm(shard, vm);
	struct served *found = NULL;
	uint64_t address;
	uint64_t pages;

	for (uint32_t i = 0; i < mine->served_count; i++) {
		struct served *served = mine->served[i];

		if (is_gone(served) || !spans_address(&served->spans, page, &address, &pages))
			continue;
		if (!served->is_child)
			return served;
		found = served;
	}
	return found;
}

struct served *served_of_vm(const struct shard *shard, struct vm *vm)
{
	const struct vm_shard *mine = shard_of_vm(shard, vm);

	for (uint32_t i = 0; i < mine->served_count; i++)
		if (!is_gone(mine->served[i]))
			return mine->served[i];
	return NULL;
}
