/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process_madvise(MADV_PAGEOUT) unmaps another process's shared pages and keeps them in the page
 * cache (no swap configured), as long as nobody else maps them. It is not exhaustive: a page that
 * the kernel has in hand elsewhere is passed over, so the caller looks and asks again.
 */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kernel_test.h"

#define PAGES 64u
#define TRIES 1000

static bool swap_is_configured(void)
{
	FILE *file = fopen("/proc/swaps", "re");
	char line[256];
	int lines = 0;

	while (file && fgets(line, sizeof(line), file))
		lines++;
	if (file)
		(void)fclose(file);
	return lines > 1;
}

static uint64_t present_in(int pid, const uint8_t *memory)
{
	const int pagemap = guest_pagemap_open(pid);
	uint64_t present = 0;

	CHECK(pagemap >= 0);
	CHECK(guest_scan_present(pagemap, (uintptr_t)memory, PAGES, &present) == 0);
	close(pagemap);
	return present;
}

/* A child that maps every page and then waits for its end. */
static pid_t start_mapper(const uint8_t *memory)
{
	int ready[2];
	uint8_t sum = 0;
	pid_t pid;

	CHECK(pipe(ready) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid > 0) {
		CHECK(read(ready[0], &sum, 1) == 1);
		return pid;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint32_t i = 0; i < PAGES; i++)
		sum = (uint8_t)(sum + *(const volatile uint8_t *)(memory + i * PAGE_BYTES));
	(void)!write(ready[1], &sum, 1);
	for (;;)
		(void)pause();
}

static void pageout_all(int pidfd, int pid, const uint8_t *memory)
{
	for (int i = 0; i < TRIES; i++) {
		CHECK(guest_pageout(pidfd, (uintptr_t)memory, PAGES * PAGE_BYTES) == 0);
		if (present_in(pid, memory) == 0)
			return;
		CHECK(sched_yield() == 0);
	}
	CHECK(!"every page went");
}

int main(void)
{
	const uint64_t size_bytes = PAGES * PAGE_BYTES;
	const int memfd = memfd_create("kernel-test", MFD_CLOEXEC);
	uint8_t *memory;
	uint64_t cached;
	pid_t pid;
	int pidfd;

	(void)alarm(TEST_TIMEOUT_S);
	if (swap_is_configured())
		skip("swap is configured: MADV_PAGEOUT would use it");
	CHECK(ftruncate(memfd, (off_t)size_bytes) == 0);
	CHECK(guest_alias_map(memfd, 0, size_bytes, &memory) == 0);
	CHECK(madvise(memory, size_bytes, MADV_DOFORK) == 0);
	memset(memory, 0x5a, size_bytes);
	pid = start_mapper(memory);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	CHECK(pidfd >= 0);

	CHECK(guest_pageout(pidfd, (uintptr_t)memory, size_bytes) == 0);
	CHECK(present_in(pid, memory) == UINT64_MAX); /* mapped twice: skipped */
	guest_alias_drop(memory, size_bytes);
	pageout_all(pidfd, pid, memory);

	CHECK(guest_cached_bytes(memfd, &cached) == 0);
	CHECK(cached == size_bytes);
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, NULL, 0) == pid);
	return 0;
}
