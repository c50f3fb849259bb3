/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "io/shared.h"
#include "queue/base/bits.h"

static uint64_t resident_bytes(const struct shared *shared)
{
	struct stat status;

	cr_assert_eq(fstat(shared->fd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

Test(shared, starts_zeroed_and_rounded_up_to_pages)
{
	struct shared shared;
	const uint8_t *memory;

	cr_assert_eq(shared_open("test", PAGE_BYTES + 1, &shared), 0);

	memory = shared.memory;
	cr_assert_eq(shared.size_bytes, 2 * PAGE_BYTES);
	for (size_t i = 0; i < shared.size_bytes; i++)
		cr_assert_eq(memory[i], 0);
	shared_close(&shared);
}

Test(shared, costs_memory_only_for_written_pages)
{
	struct shared shared;

	cr_assert_eq(shared_open("test", 64 * GIB, &shared), 0);
	cr_assert_eq(resident_bytes(&shared), 0);

	((uint8_t *)shared.memory)[40 * GIB] = 1;

	cr_assert_eq(resident_bytes(&shared), PAGE_BYTES);
	shared_close(&shared);
}

Test(shared, a_second_mapping_of_the_descriptor_sees_the_same_bytes)
{
	struct shared shared;
	uint8_t *successor;

	cr_assert_eq(shared_open("test", PAGE_BYTES, &shared), 0);
	memset(shared.memory, 0x5a, PAGE_BYTES);

	successor = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, shared.fd, 0);

	cr_assert_neq(successor, MAP_FAILED);
	cr_assert_eq(memcmp(successor, shared.memory, PAGE_BYTES), 0);
	munmap(successor, PAGE_BYTES);
	shared_close(&shared);
}

Test(shared, closing_twice_or_closing_nothing_is_harmless)
{
	struct shared never_opened = {0};
	struct shared shared;

	cr_assert_eq(shared_open("test", PAGE_BYTES, &shared), 0);
	shared_close(&shared);

	shared_close(&shared);
	shared_close(&never_opened);

	cr_assert_null(shared.memory);
}

Test(shared, too_much_is_an_error_and_leaves_the_output_alone)
{
	struct shared shared = {.fd = 77};

	const int result = shared_open("test", (uint64_t)1 << 62, &shared);

	cr_assert_lt(result, 0);
	cr_assert_eq(shared.fd, 77);
}
