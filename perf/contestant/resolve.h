/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolving calls of userfaultfd, bare: floors and peers pay for the system call and nothing
 * else. Addresses are the client's. 0 or bytes done, else -errno.
 */
#ifndef VMSWAP_PERF_CONTESTANT_RESOLVE_H
#define VMSWAP_PERF_CONTESTANT_RESOLVE_H

#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include <linux/userfaultfd.h>

#include "queue/base/bits.h"
#include "queue/base/err.h"

static inline uint64_t resolve_address(const struct uffd_msg *message)
{
	return message->arg.pagefault.address & ~(uint64_t)(PAGE_BYTES - 1);
}

/* Goes on after a part; the error is that of the first page not copied. */
static inline int resolve_copy(
	int uffd, uint64_t address, const uint8_t *source, uint64_t size_bytes, uint64_t mode)
{
	uint64_t done = 0;

	while (done < size_bytes) {
		struct uffdio_copy copy = {
			.dst = address + done,
			.src = (uintptr_t)source + done,
			.len = size_bytes - done,
			.mode = mode,
		};

		if (ioctl(uffd, UFFDIO_COPY, &copy) == 0)
			return 0;
		if (copy.copy <= 0)
			return -errno;
		done += (uint64_t)copy.copy;
	}
	return 0;
}

/* Bytes mapped, which may be a part of what was asked for. */
static inline int64_t resolve_continue(int uffd, uint64_t address, uint64_t size_bytes)
{
	struct uffdio_continue argument = {.range = {.start = address, .len = size_bytes}};

	if (ioctl(uffd, UFFDIO_CONTINUE, &argument) < 0 && argument.mapped <= 0)
		return -errno;
	return argument.mapped;
}

static inline int resolve_zero(int uffd, uint64_t address, uint64_t size_bytes)
{
	struct uffdio_zeropage argument = {.range = {.start = address, .len = size_bytes}};

	return errno_of(ioctl(uffd, UFFDIO_ZEROPAGE, &argument));
}

static inline void resolve_wake(int uffd, uint64_t address, uint64_t size_bytes)
{
	struct uffdio_range range = {.start = address, .len = size_bytes};

	(void)ioctl(uffd, UFFDIO_WAKE, &range);
}

#endif
