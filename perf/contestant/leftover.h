/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a benchmark changes on the host bears the pid of the keeper that takes it back. When there
 * is no such process any more, nobody will: it is a leftover.
 */
#ifndef VMSWAP_PERF_CONTESTANT_LEFTOVER_H
#define VMSWAP_PERF_CONTESTANT_LEFTOVER_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LEFTOVER_PREFIX "vmswap-bench-"

/* @name is @prefix, a pid, and perhaps more. */
static inline bool leftover_is(const char *name, const char *prefix)
{
	long pid;

	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return false;
	pid = strtol(name + strlen(prefix), NULL, 10);
	return pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

#endif
