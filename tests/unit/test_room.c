/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/room.h"

#include <criterion/criterion.h>
#include <string.h>

#include "ctl/problem.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

static int read_text(const char *text, uint64_t *ret_bytes)
{
	char copy[256];
	CLEANUP_FILE FILE *file = NULL;

	(void)snprintf(copy, sizeof(copy), "%s", text);
	file = fmemopen(copy, strlen(copy), "r");
	cr_assert_not_null(file);
	return room_read_available(file, ret_bytes);
}

Test(room, available_memory_is_read_from_its_line)
{
	uint64_t bytes = 0;

	int rc = read_text("MemTotal:  999 kB\nMemFree: 1 kB\nMemAvailable:   2048 kB\n", &bytes);

	cr_assert_eq(rc, 0);
	cr_expect_eq(bytes, 2 * MIB);
}

Test(room, a_meminfo_without_that_line_is_an_error)
{
	uint64_t bytes = 7;

	int rc = read_text("MemTotal:  999 kB\n", &bytes);

	cr_expect_eq(rc, -EBADMSG);
	cr_expect_eq(bytes, 7);
}

Test(room, nothing_always_fits)
{
	struct problem problem;

	cr_expect_eq(room_check(getpid(), 0, &problem), 0);
}

Test(room, more_than_the_host_has_is_refused_with_what_is_missing)
{
	struct problem problem = {.error = 0};
	uint64_t missing = 0;

	int rc = room_check(getpid(), (uint64_t)1 << 60, &problem);

	cr_expect_eq(rc, -ENOMEM);
	cr_expect_str_eq(problem.reason, "no-memory");
	cr_expect_not_null(strstr(problem.text, "missing"));
	cr_assert_eq(room_missing(getpid(), (uint64_t)1 << 60, &missing), 0);
	cr_expect_gt(missing, (uint64_t)1 << 59);
}
