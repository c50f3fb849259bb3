/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a request was refused or failed, in words for the operator: the object, the cause, the next
 * step. Functions that fill one return the same -errno.
 */
#ifndef VMSWAP_CTL_PROBLEM_H
#define VMSWAP_CTL_PROBLEM_H

#define PROBLEM_BYTES 512

struct problem {
	int error;	 /* -errno */
	char reason[32]; /* stable word for programs: "locked-memory", "not-shared", … */
	char text[PROBLEM_BYTES];
};

/* Fills @problem (NULL is fine) and returns @error. */
int problem_set(struct problem *problem, int error, const char *reason, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
