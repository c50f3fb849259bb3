/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Assertions. What only we can cause is asserted; what the outside can cause (guest, disk, client,
 * kernel version) is an error and never reaches these.
 */
#ifndef VMSWAP_QUEUE_BASE_ASSERT_H
#define VMSWAP_QUEUE_BASE_ASSERT_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Stays in release builds. @condition must have no side effect. */
#define ASSERT(condition)                                                                          \
	do {                                                                                       \
		if (__builtin_expect(!(condition), 0))                                             \
			assert_failed(__FILE__, __LINE__, __func__, #condition);                   \
	} while (0)

#define UNREACHABLE() assert_failed(__FILE__, __LINE__, __func__, "unreachable")

_Noreturn static inline void assert_failed(
	const char *file, int line, const char *function, const char *what)
{
	(void)fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", file, line, function, what);
	abort();
}

#endif
