/* SPDX-License-Identifier: Apache-2.0 */
/* The check of plain test programs: says what is not true, and ends the program with 1. */
#ifndef VMSWAP_TESTS_CHECK_H
#define VMSWAP_TESTS_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)fprintf(stderr, "%s:%d: %s: not true: %s (errno %d)\n", __FILE__,    \
				__LINE__, __func__, #condition, errno);                            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* Runs one test function and says so. */
#define RUN(test)                                                                                  \
	do {                                                                                       \
		(void)printf("%s\n", #test);                                                       \
		(void)fflush(stdout);                                                              \
		test();                                                                            \
	} while (0)

#endif
