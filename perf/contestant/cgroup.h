/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memory cgroup of a client's own, below the root of the hierarchy that has the memory controller
 * (v1, or v2). Only pages faulted in by a member are charged to it, and leave RAM when it is
 * squeezed. It is named after the calling process; see leftover.h.
 */
#ifndef VMSWAP_PERF_CONTESTANT_CGROUP_H
#define VMSWAP_PERF_CONTESTANT_CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

#define CGROUP_PATH_BYTES 256

struct cgroup {
	char root[CGROUP_PATH_BYTES];
	char path[CGROUP_PATH_BYTES + 64]; /* empty: there is none */
	bool is_v2;
	bool has_enabled; /* the controller, for the root's children */
};

/* Leftovers are removed first. -ENOENT: no memory controller is mounted; -errno. */
int cgroup_make(struct cgroup *ret_group);
int cgroup_add(const struct cgroup *group, pid_t pid);
/*
 * Reclaims all that the kernel can in one go, clean swap cache first of all; the limit is gone
 * again afterwards. No member may run: it would meet the limit.
 */
int cgroup_squeeze(const struct cgroup *group);
/* Kills the members and waits for them, for a bounded time. Once more is fine. -errno */
int cgroup_remove(struct cgroup *group);

#endif
