/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/children.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "ctl/attach.h"
#include "ctl/keeper.h"
#include "ctl/ledger.h"
#include "ctl/procfs.h"
#include "engine/successor.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

#define PLACE_SHIFT  32
#define NUMBER_SHIFT 48

uint64_t children_tag(uint32_t number, uint32_t place, pid_t pid)
{
	ASSERT(place < PROCESSES_MAX);
	ASSERT(pid > 0);
	return (uint64_t)number << NUMBER_SHIFT | (uint64_t)place << PLACE_SHIFT | (uint32_t)pid;
}

static uint32_t number_of(uint64_t tag)
{
	return (uint32_t)(tag >> NUMBER_SHIFT);
}

static uint32_t place_of(uint64_t tag)
{
	return (uint32_t)(tag >> PLACE_SHIFT) & UINT16_MAX;
}

void children_name(const struct engine_child *child, char ret_name[KEEPER_NAME_BYTES])
{
	char vm[KEEPER_NAME_BYTES];

	ledger_vm_name(number_of(child->tag), vm);
	(void)snprintf(ret_name, KEEPER_NAME_BYTES, "%.16s/%u.%u.%u.%u", vm, place_of(child->tag),
		(uint32_t)child->tag, child->shard, child->number);
}

/* Of a child of VM number @number; false unless it is what children_name() makes. */
static bool parse_child(const char *name, uint32_t number, struct engine_child *ret_child)
{
	const char *text = strchr(name, '/') + 1;
	char again[KEEPER_NAME_BYTES];
	uint64_t place;
	uint64_t pid;
	uint64_t shard;
	uint64_t child;

	if (!procfs_take_number(&text, 10, '.', &place) ||
		!procfs_take_number(&text, 10, '.', &pid) ||
		!procfs_take_number(&text, 10, '.', &shard) ||
		!procfs_take_number(&text, 10, '\0', &child))
		return false;
	if (place >= PROCESSES_MAX || pid == 0 || pid > INT32_MAX || shard >= SHARDS_MAX ||
		child >= UINT32_MAX)
		return false;
	*ret_child = (struct engine_child){
		.tag = children_tag(number, (uint32_t)place, (pid_t)pid),
		.shard = (uint32_t)shard,
		.number = (uint32_t)child,
	};
	children_name(ret_child, again);
	return strcmp(again, name) == 0;
}

static int keep(void *context, const struct engine_child *child, int uffd)
{
	const struct keeper *keeper = context;
	char name[KEEPER_NAME_BYTES];

	children_name(child, name);
	return keeper_post_store(keeper, name, uffd);
}

/* What does not come to pass is made good by children_forget(). */
static void drop(void *context, const struct engine_child *child)
{
	const struct keeper *keeper = context;
	char name[KEEPER_NAME_BYTES];

	children_name(child, name);
	(void)keeper_post_forget(keeper, name);
}

struct children_home children_home(struct keeper *keeper)
{
	if (!keeper)
		return (struct children_home){0};
	return (struct children_home){.context = keeper, .keep = keep, .drop = drop};
}

static const struct member *parent_of(
	const struct attachment *attachment, const struct engine_child *child)
{
	for (uint32_t i = 0; i < attachment->member_count; i++) {
		const struct member *member = &attachment->member[i];

		if (member->place == place_of(child->tag) &&
			member->target.pid == (pid_t)(uint32_t)child->tag)
			return member;
	}
	return NULL;
}

/* Where it cannot be served it waits: the supervisor has its descriptor still. */
static void adopt_child(
	const struct attachment *attachment, const struct engine_child *child, int lent)
{
	const struct member *parent = parent_of(attachment, child);
	const int uffd = errno_of(fcntl(lent, F_DUPFD_CLOEXEC, 3));
	int rc = uffd < 0 ? uffd : -ESRCH;

	if (parent && uffd >= 0)
		rc = vm_child_adopt(attachment->vm, parent->process, child, uffd);
	else
		close_fd(uffd);
	if (rc < 0)
		log_error("a child of process %d of %s is not served and waits: %s",
			(int)(uint32_t)child->tag, ledger_vm(&attachment->ledger)->name,
			strerror(-rc));
}

uint32_t children_next_number(const struct ledger_entry *entry)
{
	char vm[KEEPER_NAME_BYTES];
	char name[KEEPER_NAME_BYTES];
	struct engine_child child;
	uint32_t index = 0;
	uint32_t next = 0;
	int lent;

	ledger_vm_name(entry->number, vm);
	while (keeper_next_below(entry->keeper, vm, &index, name, &lent))
		if (parse_child(name, entry->number, &child))
			next = MAX(next, child.number + 1);
	return next;
}

void children_adopt(struct attachment *attachment)
{
	const struct ledger_entry *entry = &attachment->ledger;
	char vm[KEEPER_NAME_BYTES];
	char name[KEEPER_NAME_BYTES];
	struct engine_child child;
	uint32_t index = 0;
	int lent;

	if (!vm_is_registered(attachment->vm)) {
		children_forget(entry);
		return;
	}
	ledger_vm_name(entry->number, vm);
	while (keeper_next_below(entry->keeper, vm, &index, name, &lent))
		if (parse_child(name, entry->number, &child))
			adopt_child(attachment, &child, lent);
}

void children_forget(const struct ledger_entry *entry)
{
	char name[KEEPER_NAME_BYTES];

	ledger_vm_name(entry->number, name);
	keeper_forget_below(entry->keeper, name);
}
