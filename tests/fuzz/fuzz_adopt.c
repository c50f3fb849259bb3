/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker finds of the one before: headers, page words, digests, summaries, the slot map, the
 * ledger. The input changes bytes of a state that makes sense, and says how many descriptors are
 * missing. It is refused with an error, or the VM is taken over, adds up, and no slot is left.
 *
 *   byte 0   bits 0, 1: descriptors that are missing; bit 2: no process
 *   then     which part, offset (two bytes, little endian), length, bytes; again and again
 *
 * adopt.c is included whole: what fails half way ends the daemon, and here is let go of.
 */
#include <dirent.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ctl/adopt.c" /* NOLINT(bugprone-suspicious-include) */
#include "ctl/keeper.h"
#include "found.h"
#include "fuzz.h"
#include "io/uffd.h"

static int guest_fd = -1;
static int pid_fd = -1;
static int uffd = -1; /* registers nothing, and never has a message */
static uint32_t missing;

/* The linker puts it in the way of every caller (--wrap): there is no supervisor here. */
uint32_t __wrap_keeper_find(struct keeper *keeper, const char *name, int *ret_fds, uint32_t max);

uint32_t __wrap_keeper_find(struct keeper *keeper, const char *name, int *ret_fds, uint32_t max)
{
	const int process[] = {pid_fd, uffd, uffd, uffd};
	int vm[] = {found[FOUND_LEDGER].fd, found[FOUND_WORDS].fd, found[FOUND_DIGESTS].fd,
		found[FOUND_CHUNKS].fd, found[FOUND_VM].fd, found[FOUND_KEY].fd, guest_fd};
	const bool is_vm = strcmp(name, "vm-0") == 0;
	const uint32_t count = (uint32_t)(is_vm ? ARRAY_SIZE(vm) : ARRAY_SIZE(process)) - missing;

	(void)keeper;
	memcpy(ret_fds, is_vm ? vm : process, MIN(count, max) * sizeof(*ret_fds));
	return count;
}

static void fill_ledger(void)
{
	struct ledger_vm *ledger = (struct ledger_vm *)(void *)found[FOUND_LEDGER].good;
	struct ledger_process *process = &ledger->process[0];

	ledger->is_attached = true;
	strcpy(ledger->name, "demo");
	ledger->areas.count = 1;
	ledger->areas.item[0].size_bytes = FOUND_GUEST_PAGES * PAGE_BYTES;
	process->is_used = true;
	process->pid = getpid();
	strcpy(process->comm, "vmm");
	process->address[0] = 0x7f0000000000;
	process->remote_count = FOUND_SHARDS;
}

static void start(void)
{
	struct ledger_entry ledger;
	int rc;

	log_set_level(LOG_LEVEL_ERROR);
	guest_fd = memfd_create("fuzz-guest", MFD_CLOEXEC);
	pid_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	uffd = uffd_open();
	ASSERT(guest_fd >= 0 && pid_fd >= 0 && uffd >= 0);
	rc = ftruncate(guest_fd, FOUND_GUEST_PAGES * PAGE_BYTES);
	ASSERT(rc == 0);
	found_start(guest_fd);
	rc = ledger_take(NULL, &ledger);
	ASSERT(rc == 0);
	found_keep(FOUND_LEDGER, ledger.memory.fd);
	ledger_give(&ledger);
	fill_ledger();
}

static void put(enum found_part part, const void *bytes, size_t size, size_t offset)
{
	const ssize_t done = pwrite(found[part].fd, bytes, size, (off_t)offset);

	ASSERT(done == (ssize_t)size);
}

/* Every part as it was, but for what the input says. */
static void prepare(const uint8_t *data, size_t size)
{
	const bool none = false;

	for (uint32_t i = 0; i < FOUND_PARTS; i++)
		put((enum found_part)i, found[i].good, found[i].size_bytes, 0);
	if (size == 0)
		return;
	missing = data[0] & 3;
	for (size_t at = 1; at + 4 < size;) {
		const enum found_part part = (enum found_part)(data[at] % FOUND_PARTS);
		const size_t room = found[part].size_bytes;
		const size_t offset = (size_t)(data[at + 1] | data[at + 2] << 8) % room;
		const size_t length = MIN(MIN(data[at + 3], size - at - 4), room - offset);

		put(part, data + at + 4, length, offset);
		at += 4 + MAX(length, 1);
	}
	if (data[0] & 4)
		put(FOUND_LEDGER, &none, sizeof(none),
			offsetof(struct ledger_vm, process[0].is_used));
}

static void take_over(struct engine *engine, const struct ledger_found *kept)
{
	static struct attachment attachment;

	memset(&attachment, 0, sizeof(attachment));
	if (adopt_vm(engine, kept, &attachment) < 0)
		return;
	if (found_resume(engine, attachment.vm) < 0)
		return;
	(void)adopt_processes(&attachment);
	found_use(engine, attachment.vm);
	for (uint32_t i = 0; i < attachment.member_count; i++) {
		const struct member *member = &attachment.member[i];

		close_fd(member->target.pidfd);
		close_fd(member->target.uffd);
		close_fd(member->channel);
		close_fds(member->uffds, member->remote_count);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ledger_found kept;
	struct engine *engine;
	uint32_t descriptors;

	if (guest_fd < 0)
		start();
	prepare(data, size);
	descriptors = fuzz_count_descriptors();
	if (found_open(&engine) == 0) {
		if (ledger_find_vm(NULL, 0, &kept) == 0) {
			take_over(engine, &kept);
			ledger_give(&kept.entry);
		}
		engine_stop(engine);
	}
	ASSERT(fuzz_count_descriptors() == descriptors);
	return 0;
}
