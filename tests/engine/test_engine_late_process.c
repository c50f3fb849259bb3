/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule 2 with clean pages trusted by mark: a process that maps the memory before it is added may
 * have written pages that were settled clean without it. What it wrote must not be dropped.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/uffd.h"
#include "tests/support/engine_rig.h"

#define PAGES (4 * (uint64_t)CHUNK_PAGES)

static uint8_t *map_memory(const struct rig *rig)
{
	uint8_t *memory = mmap(
		NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rig->guest.memfd, 0);

	CHECK(memory != MAP_FAILED);
	return memory;
}

static uint32_t add_ourselves(struct rig *rig, uint8_t *memory)
{
	const uint64_t address = (uintptr_t)memory;
	int uffds[2] = {uffd_open(), uffd_open()};
	struct process_spec process = {
		.pid = getpid(),
		.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0),
		.address = &address,
		.uffds = uffds,
	};
	uint32_t index;

	CHECK(vm_process_add(rig->vm, &process, &index) == 0);
	(void)close(process.pidfd);
	CHECK(madvise(memory, PAGES * PAGE_BYTES, MADV_DONTNEED) == 0);
	return index;
}

int main(void)
{
	const struct rig_config config = {
		.shards = 2,
		.trusts_clean = true,
		.guest = {.pages = PAGES},
	};
	struct dispatch_result result;
	uint8_t *memory;
	uint32_t late;
	struct rig rig;

	/* every page staged and settled clean */
	rig_start(&config, &rig);
	(void)rig_enable(&rig);
	rig_dispatch(&rig, CHUNK_OUT, &result);
	test_guest_do(&rig.guest, TEST_GUEST_VERIFY, 0, 0);
	(void)rig_enable(&rig);

	memory = map_memory(&rig);
	memset(memory + 7 * PAGE_BYTES, 0x5a, PAGE_BYTES);
	late = add_ourselves(&rig, memory);
	rig_dispatch(&rig, CHUNK_OUT, &result);

	CHECK(result.clean_pages > 0);
	CHECK(memory[7 * PAGE_BYTES] == 0x5a);
	CHECK(memory[8 * PAGE_BYTES - 1] == 0x5a);
	rig_disable(&rig);
	vm_process_remove(rig.vm, late);
	rig_abandon(&rig);
	return 0;
}
