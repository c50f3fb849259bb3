/* SPDX-License-Identifier: Apache-2.0 */
/* What the memory cgroups of a process have left, of either version. */
#ifndef VMSWAP_CTL_MEMCG_H
#define VMSWAP_CTL_MEMCG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The least of its cgroup and those above, without what reclaim can take: UINT64_MAX when none has
 * a limit, the process is gone, or nothing is mounted below /sys/fs/cgroup.
 */
uint64_t memcg_room(pid_t pid);

enum memcg_version {
	MEMCG_V1, /* mounted at /sys/fs/cgroup/memory */
	MEMCG_V2, /* at /sys/fs/cgroup */
	MEMCG_VERSIONS,
};

/*
 * The folder of a line of /proc/PID/cgroup; false when it is not of that version or too long. Pure.
 */
bool memcg_folder(
	enum memcg_version version, const char *line, char *ret_folder, size_t size_bytes);

#endif
