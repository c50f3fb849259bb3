/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ledger.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "ctl/keeper.h"
#include "ctl/state_files.h"
#include "engine/engine.h"
#include "engine/successor.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/log.h"
#include "queue/base/probe.h"

#define LEDGER_MAGIC	0x3172656764656c76u
#define FDS_MAX		(1 + VM_PARTS + REGIONS_MAX)
#define PROCESS_FDS_MAX (LEDGER_PROCESS_FDS + SHARDS_MAX)

static_assert(VM_PARTS <= ARRAY_SIZE(((struct ledger_found *)0)->parts), "all parts have a place");

/* Which numbers are in use: any control thread. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_taken[VMS_MAX];

/* Set at the start; NULL: no names are given. */
static const struct state_files *files;

void ledger_vm_name(uint32_t number, char ret_name[KEEPER_NAME_BYTES])
{
	(void)snprintf(ret_name, KEEPER_NAME_BYTES, "vm-%u", number);
}

void ledger_process_name(uint32_t number, uint32_t place, char ret_name[KEEPER_NAME_BYTES])
{
	(void)snprintf(ret_name, KEEPER_NAME_BYTES, "vm-%u-%u", number, place);
}

void ledger_set_files(const struct state_files *all_files)
{
	files = all_files;
}

bool ledger_is_recoverable(void)
{
	return files != NULL;
}

/* Guests are as safe as before, but for the death of two processes. */
static void warn_unrecoverable(const char *what, int error)
{
	log_warning("%s cannot be recovered if supervisor and worker both die: %s", what,
		error == -EXDEV ? "the state directory has no room for its tables"
				: strerror(-error));
}

int ledger_keep_engine(
	struct keeper *keeper, const struct engine *engine, const struct swapfile_config *store)
{
	int fds[ENGINE_PARTS];
	int rc;

	engine_parts(engine, fds);
	rc = files ? state_files_keep_engine(files, fds, store) : 0;
	if (rc < 0) {
		warn_unrecoverable(store->path, rc);
		files = NULL;
	}
	return keeper_store(keeper, LEDGER_ENGINE_NAME, fds, ENGINE_PARTS);
}

bool ledger_find_engine(struct keeper *keeper, int *ret_fds)
{
	if (keeper_find(keeper, LEDGER_ENGINE_NAME, ret_fds, ENGINE_PARTS) != ENGINE_PARTS)
		return false;
	/* VMs have names where their engine has one. */
	if (files && !state_files_has_engine(files))
		files = NULL;
	return true;
}

static int take_number(void)
{
	int number = -ENOSPC;

	(void)pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < VMS_MAX && number < 0; i++)
		if (!is_taken[i])
			number = (int)i;
	if (number >= 0)
		is_taken[number] = true;
	(void)pthread_mutex_unlock(&lock);
	return number;
}

static void give_number(uint32_t number)
{
	(void)pthread_mutex_lock(&lock);
	ASSERT(is_taken[number]);
	is_taken[number] = false;
	(void)pthread_mutex_unlock(&lock);
}

int ledger_take(struct keeper *keeper, struct ledger_entry *ret_entry)
{
	const int number = take_number();
	struct ledger_entry entry = {.keeper = keeper, .number = (uint32_t)number};
	int rc;

	if (number < 0)
		return number;
	rc = shared_open("vmswap-ledger", sizeof(struct ledger_vm), &entry.memory);
	if (rc < 0) {
		give_number(entry.number);
		return rc;
	}
	ledger_vm(&entry)->magic = LEDGER_MAGIC;
	*ret_entry = entry;
	return 0;
}

void ledger_give(struct ledger_entry *entry)
{
	char name[KEEPER_NAME_BYTES];

	if (!entry->memory.memory)
		return;
	for (uint32_t place = 0; place < PROCESSES_MAX; place++)
		if (ledger_vm(entry)->process[place].is_used)
			ledger_drop_process(entry, place);
	/* Names go first: a successor finds by what the supervisor holds that a VM is to go. */
	if (files)
		state_files_drop_vm(files, entry->number);
	ledger_vm_name(entry->number, name);
	keeper_forget(entry->keeper, name);
	keeper_forget_below(entry->keeper, name);
	PROBE(ledger, forgotten);
	shared_close(&entry->memory);
	give_number(entry->number);
	*entry = (struct ledger_entry){0};
}

int ledger_keep_vm(struct ledger_entry *entry, const struct vm *vm, const int *memfds)
{
	const uint32_t count = ledger_vm(entry)->areas.count;
	char name[KEEPER_NAME_BYTES];
	int fds[FDS_MAX];
	int rc;

	ASSERT(count <= REGIONS_MAX);
	fds[0] = entry->memory.fd;
	vm_parts(vm, fds + 1);
	memcpy(fds + 1 + VM_PARTS, memfds, count * sizeof(*fds));
	ledger_vm_name(entry->number, name);
	rc = keeper_store(entry->keeper, name, fds, 1 + VM_PARTS + count);
	if (rc < 0)
		return rc;
	/* Names come last, as they go first. */
	rc = files ? state_files_keep_vm(files, entry->number, fds[0], fds + 1) : 0;
	if (rc < 0)
		warn_unrecoverable(ledger_vm(entry)->name, rc);
	PROBE(ledger, named);
	return 0;
}

int ledger_keep_process(struct ledger_entry *entry, const struct ledger_process *process,
	const struct ledger_fds *fds, uint32_t *ret_place)
{
	struct ledger_vm *vm = ledger_vm(entry);
	char name[KEEPER_NAME_BYTES];
	int sent[PROCESS_FDS_MAX] = {fds->pidfd, fds->channel >= 0 ? fds->channel : fds->pidfd};
	uint32_t place = 0;
	int rc;

	ASSERT(fds->uffd_count <= SHARDS_MAX);
	while (place < PROCESSES_MAX && vm->process[place].is_used)
		place++;
	if (place == PROCESSES_MAX)
		return -ENOSPC;
	memcpy(sent + LEDGER_PROCESS_FDS, fds->uffds, fds->uffd_count * sizeof(*sent));
	ledger_process_name(entry->number, place, name);
	rc = keeper_store(entry->keeper, name, sent, LEDGER_PROCESS_FDS + fds->uffd_count);
	if (rc < 0)
		return rc;
	PROBE(ledger, stored);
	vm->process[place] = *process;
	vm->process[place].has_channel = fds->channel >= 0;
	vm->process[place].is_passing = true;
	atomic_thread_fence(memory_order_release); /* read by a successor's ledger_find_vm() */
	vm->process[place].is_used = true;
	*ret_place = place;
	return 0;
}

void ledger_settle_process(struct ledger_entry *entry, uint32_t place, uint64_t stopped_us)
{
	struct ledger_process *process = &ledger_vm(entry)->process[place];

	ASSERT(process->is_used);
	process->stopped_us = stopped_us;
	process->is_passing = false;
	PROBE(ledger, settled);
}

void ledger_unsettle_process(struct ledger_entry *entry, uint32_t place)
{
	ledger_vm(entry)->process[place].is_passing = true;
}

void ledger_drop_process(struct ledger_entry *entry, uint32_t place)
{
	char name[KEEPER_NAME_BYTES];

	ASSERT(place < PROCESSES_MAX);
	ledger_vm(entry)->process[place].is_used = false;
	PROBE(ledger, dropped);
	ledger_process_name(entry->number, place, name);
	keeper_forget(entry->keeper, name);
}

/* Whatever is found: a bool. */
static bool is_bool(const bool *found)
{
	uint8_t byte;

	memcpy(&byte, found, sizeof(byte));
	return byte <= 1;
}

/* Something may be registered in a process of it. */
static bool has_process(const struct ledger_vm *vm)
{
	for (uint32_t place = 0; place < PROCESSES_MAX; place++)
		if (vm->process[place].is_used)
			return true;
	return false;
}

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool process_makes_sense(const struct ledger_process *process)
{
	return is_bool(&process->is_used) && is_bool(&process->has_channel) &&
	       is_bool(&process->is_passing) && (!process->is_used || process->pid > 0) &&
	       is_text(process->comm, sizeof(process->comm)) && process->remote_count <= SHARDS_MAX;
}

/* A worker may have died of what it wrote here: nothing that is out of bounds is taken over. */
bool ledger_makes_sense(const struct ledger_vm *vm)
{
	bool does = vm->magic == LEDGER_MAGIC && is_bool(&vm->is_attached) &&
		    is_bool(&vm->trust_discard) && is_bool(&vm->verify_clean) &&
		    is_bool(&vm->options.allow_locked) && is_text(vm->name, sizeof(vm->name)) &&
		    vm->areas.count <= REGIONS_MAX && (uint32_t)vm->zap < ZAP_WAY_COUNT;

	for (uint32_t place = 0; does && place < PROCESSES_MAX; place++)
		does = process_makes_sense(&vm->process[place]);
	return does;
}

/* A worker died between what it told the supervisor and what it wrote here. */
static void drop_unlisted(const struct ledger_entry *entry)
{
	for (uint32_t place = 0; place < PROCESSES_MAX; place++) {
		char name[KEEPER_NAME_BYTES];
		int first;

		ledger_process_name(entry->number, place, name);
		if (!ledger_vm(entry)->process[place].is_used &&
			keeper_find(entry->keeper, name, &first, 1) > 0)
			keeper_forget(entry->keeper, name);
	}
}

int ledger_find_vm(struct keeper *keeper, uint32_t number, struct ledger_found *ret_found)
{
	char name[KEEPER_NAME_BYTES];
	int fds[FDS_MAX];
	struct ledger_found found = {.entry = {.keeper = keeper, .number = number}};
	uint32_t count;
	int rc;

	ASSERT(number < VMS_MAX);
	ledger_vm_name(number, name);
	count = keeper_find(keeper, name, fds, FDS_MAX);
	if (count == 0)
		return -ENOENT;
	rc = shared_adopt(fds[0], sizeof(struct ledger_vm), &found.entry.memory);
	if (rc < 0)
		return rc == -EINVAL ? -ESTALE : rc;
	if (ledger_vm(&found.entry)->magic != LEDGER_MAGIC ||
		count != 1 + VM_PARTS + ledger_vm(&found.entry)->areas.count) {
		shared_close(&found.entry.memory);
		return -ESTALE;
	}
	if (!ledger_makes_sense(ledger_vm(&found.entry))) {
		shared_close(&found.entry.memory);
		return -EBADMSG;
	}
	(void)pthread_mutex_lock(&lock);
	is_taken[number] = true;
	(void)pthread_mutex_unlock(&lock);
	drop_unlisted(&found.entry);
	/* A worker died near the beginning of an attach, or the end of a detach. */
	if (!has_process(ledger_vm(&found.entry))) {
		ledger_give(&found.entry);
		return -ENOENT;
	}
	memcpy(found.parts, fds + 1, VM_PARTS * sizeof(*fds));
	memcpy(found.memfds, fds + 1 + VM_PARTS, (count - 1 - VM_PARTS) * sizeof(*fds));
	*ret_found = found;
	return 0;
}

void ledger_regions(const struct ledger_found *found, struct region_spec *ret_regions)
{
	const struct area_list *areas = &ledger_vm(&found->entry)->areas;

	for (uint32_t i = 0; i < areas->count; i++)
		ret_regions[i] = (struct region_spec){
			.memfd = found->memfds[i],
			.file_offset = areas->item[i].file_offset,
			.size_bytes = areas->item[i].size_bytes,
		};
}

static int copy_fd(int fd)
{
	return errno_of(fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

int ledger_find_process(const struct ledger_entry *entry, uint32_t place, uint32_t uffd_count,
	struct ledger_fds *ret_fds)
{
	const struct ledger_process *process = &ledger_vm(entry)->process[place];
	struct ledger_fds found = {.channel = -1, .uffd_count = uffd_count};
	char name[KEEPER_NAME_BYTES];
	int fds[PROCESS_FDS_MAX];

	ASSERT(process->is_used);
	ledger_process_name(entry->number, place, name);
	if (keeper_find(entry->keeper, name, fds, PROCESS_FDS_MAX) !=
		LEDGER_PROCESS_FDS + uffd_count)
		return -ESTALE;
	found.pidfd = copy_fd(fds[0]);
	if (process->has_channel)
		found.channel = copy_fd(fds[1]);
	for (uint32_t i = 0; i < uffd_count; i++)
		found.uffds[i] = copy_fd(fds[LEDGER_PROCESS_FDS + i]);
	*ret_fds = found;
	/* The table of descriptors is as large as the predecessor's, which had them all. */
	return found.pidfd < 0 ? found.pidfd : 0;
}
