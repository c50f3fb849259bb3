/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/syscall_insn.h"

#include <fcntl.h>
#include <string.h>
#include <sys/user.h>

#include "ctl/maps_text.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define INSN_BYTES   2u
#define WINDOW_BYTES (16 * KIB)
/* Text searched at most: static VMMs have a syscall instruction long before. */
#define SEARCH_BYTES_MAX (256 * MIB)

static const uint8_t insn[INSN_BYTES] = {0x0f, 0x05};

/* The thread sleeps in a call: its own instruction lies before rip. */
static bool is_before(int memory, uint64_t address)
{
	uint8_t bytes[INSN_BYTES];

	/* @unfiltered pread64 */
	return pread(memory, bytes, sizeof(bytes), (off_t)address) == (ssize_t)sizeof(bytes) &&
	       memcmp(bytes, insn, sizeof(insn)) == 0;
}

/* Windows overlap by a byte, so that no instruction is cut. 0 when there is none. */
static uint64_t search_range(int memory, uint64_t start, uint64_t end)
{
	uint8_t window[WINDOW_BYTES];

	for (uint64_t at = start; at + INSN_BYTES <= end; at += WINDOW_BYTES - 1) {
		size_t want = MIN(sizeof(window), end - at);
		ssize_t got = pread(memory, window, want, (off_t)at); /* @unfiltered pread64 */
		const uint8_t *found = NULL;

		if (got >= (ssize_t)INSN_BYTES)
			found = memmem(window, (size_t)got, insn, sizeof(insn));
		if (found)
			return at + (uint64_t)(found - window);
	}
	return 0;
}

/* The vdso only (it is small and always has one), or everything else that can be executed. */
static uint64_t search_maps(pid_t pid, int memory, bool in_vdso)
{
	char path[PROCFS_PATH_BYTES];
	CLEANUP_FILE FILE *file = NULL;
	struct maps_text text;
	struct maps_entry entry;
	uint64_t found = 0;
	uint64_t searched_bytes = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	if (procfs_open_text(path, &file))
		return 0;
	maps_text_init(&text, file);
	while (!found && searched_bytes < SEARCH_BYTES_MAX && maps_text_next(&text, &entry)) {
		bool is_vdso = strcmp(entry.name, "[vdso]") == 0;

		/* [vsyscall] can be executed but its calls are emulated. */
		if (!entry.is_executable || is_vdso != in_vdso ||
			strcmp(entry.name, "[vsyscall]") == 0)
			continue;
		found = search_range(memory, entry.start, entry.end);
		searched_bytes += entry.end - entry.start;
	}
	return found;
}

int syscall_insn_find(pid_t pid, const struct user_regs_struct *registers, uint64_t *ret_address,
	struct problem *problem)
{
	char path[PROCFS_PATH_BYTES];
	CLEANUP_FD int memory = -1;
	uint64_t address = 0;

	ASSERT(pid > 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	memory = open(path, O_RDONLY | O_CLOEXEC);
	if (memory < 0)
		return problem_set(problem, -errno, "memory-unreadable", "%s cannot be opened: %s",
			path, strerror(errno));
	if ((long)registers->orig_rax >= 0 && is_before(memory, registers->rip - INSN_BYTES))
		address = registers->rip - INSN_BYTES;
	if (!address)
		address = search_maps(pid, memory, true);
	if (!address)
		address = search_maps(pid, memory, false);
	if (!address)
		return problem_set(problem, -ENOEXEC, "no-syscall-instruction",
			"process %d has no system call instruction in its executable memory", pid);
	*ret_address = address;
	return 0;
}
