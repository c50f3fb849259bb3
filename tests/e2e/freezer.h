/* SPDX-License-Identifier: Apache-2.0 */
/* A cgroup of the test's own whose processes can be frozen, of either version. */
#ifndef VMSWAP_TESTS_E2E_FREEZER_H
#define VMSWAP_TESTS_E2E_FREEZER_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Version 2 freezes a thread as a signal would: a tracer can stop it nevertheless. In version 1
 * nothing moves it, a tracer's orders come into force when it is thawed.
 */
enum freezer_version { FREEZER_V1, FREEZER_V2 };

struct freezer {
	enum freezer_version version;
	char folder[128];
};

/* False when the host has no such hierarchy. */
bool freezer_open(enum freezer_version version, struct freezer *ret_freezer);
void freezer_take(const struct freezer *freezer, pid_t pid);
/* Returns when all of it is frozen. */
void freezer_freeze(const struct freezer *freezer);
void freezer_thaw(const struct freezer *freezer);
/* Its processes have ended. */
void freezer_close(struct freezer *freezer);

#endif
