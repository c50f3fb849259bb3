/* SPDX-License-Identifier: Apache-2.0 */
#include "io/cut.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Of the calling thread; shared with the handler that interrupts it. */
static _Thread_local struct {
	_Atomic uintptr_t page; /* 0: nothing is watched */
	_Atomic bool is_hit;
} watched;

/* mmap is a plain system call and does nothing here but that. */
static void handle(int number, siginfo_t *info, void *context)
{
	const uintptr_t page = atomic_load_explicit(&watched.page, memory_order_relaxed);
	const uintptr_t address = (uintptr_t)info->si_addr;
	const int saved = errno;

	(void)context;
	if (page != 0 && info->si_code == BUS_ADRERR && address - page < PAGE_BYTES &&
		mmap((void *)page, PAGE_BYTES, PROT_READ | PROT_WRITE, /* @shard mmap */
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
		atomic_store_explicit(&watched.is_hit, true, memory_order_relaxed);
		errno = saved;
		return;
	}
	/* The access comes again and ends the process. */
	(void)signal(number, SIG_DFL); /* @shard rt_sigaction */
}

int cut_install(void)
{
	struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART};

	(void)sigemptyset(&action.sa_mask);
	return errno_of(sigaction(SIGBUS, &action, NULL)); /* @unfiltered rt_sigaction */
}

void cut_watch(const uint8_t *page)
{
	ASSERT((uintptr_t)page % PAGE_BYTES == 0);
	ASSERT(atomic_load_explicit(&watched.page, memory_order_relaxed) == 0);
	atomic_store_explicit(&watched.page, (uintptr_t)page, memory_order_relaxed);
	/* pairs with cut.c:handle(), on the same thread */
	atomic_signal_fence(memory_order_seq_cst);
}

/* Without access first, as guest_alias_map() and for the same reason. */
static void put_back(void *page, int memfd, uint64_t offset)
{
	const void *mapped =
		/* @shard mmap */
		mmap(page, PAGE_BYTES, PROT_NONE, MAP_SHARED | MAP_FIXED, memfd, (off_t)offset);

	/* One mapping takes the place of another of the same size: no shortage refuses that. */
	ASSERT(mapped == page);
	(void)munlock(page, PAGE_BYTES);				 /* @shard munlock */
	(void)madvise(page, PAGE_BYTES, MADV_NOHUGEPAGE);		 /* @shard madvise */
	(void)madvise(page, PAGE_BYTES, MADV_DONTFORK);			 /* @shard madvise */
	ASSERT(mprotect(page, PAGE_BYTES, PROT_READ | PROT_WRITE) == 0); /* @shard mprotect */
}

bool cut_is_hit(int memfd, uint64_t offset)
{
	const uintptr_t page = atomic_load_explicit(&watched.page, memory_order_relaxed);

	ASSERT(page != 0);
	/* pairs with cut.c:handle(), on the same thread */
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&watched.page, 0, memory_order_relaxed);
	if (!atomic_load_explicit(&watched.is_hit, memory_order_relaxed))
		return false;
	atomic_store_explicit(&watched.is_hit, false, memory_order_relaxed);
	put_back((void *)page, memfd, offset);
	return true;
}
