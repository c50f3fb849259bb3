/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain mapping made under mlockall(MCL_FUTURE) fills every hole of the memfd at once; the alias
 * of guest_alias_map() does not, and stays unlocked.
 */
#include "kernel_test.h"

#define SIZE_BYTES (64 * PAGE_BYTES)

static uint64_t cached_bytes(int memfd)
{
	uint64_t cached;

	CHECK(guest_cached_bytes(memfd, &cached) == 0);
	return cached;
}

static int new_memfd(void)
{
	const int memfd = memfd_create("kernel-test", MFD_CLOEXEC);

	CHECK(ftruncate(memfd, SIZE_BYTES) == 0);
	CHECK(cached_bytes(memfd) == 0);
	return memfd;
}

int main(void)
{
	const int plain = new_memfd();
	const int memfd = new_memfd();
	uint8_t *alias;

	(void)alarm(TEST_TIMEOUT_S);
	if (mlockall(MCL_FUTURE) < 0)
		skip("not allowed to lock memory");
	CHECK(mmap(NULL, SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, plain, 0) != MAP_FAILED);
	if (cached_bytes(plain) == 0)
		skip("mlockall(3) does nothing: a sanitizer's");
	CHECK(cached_bytes(plain) == SIZE_BYTES);

	CHECK(guest_alias_map(memfd, 0, SIZE_BYTES, &alias) == 0);
	CHECK(cached_bytes(memfd) == 0);
	alias[5 * PAGE_BYTES] = 1;
	CHECK(cached_bytes(memfd) == PAGE_BYTES);
	CHECK(madvise(alias, SIZE_BYTES, MADV_DONTNEED) == 0); /* EINVAL when locked */
	guest_alias_unmap(alias, SIZE_BYTES);
	return 0;
}
