/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/room.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define LINE_BYTES  512

/* What is kept free besides: page tables, the VMMs, the daemon itself. */
#define RESERVE_BYTES (64 * MIB)

/* The number behind @key at the start of @line. */
static bool parse_line(const char *line, const char *key, uint64_t *ret_number)
{
	size_t length = strlen(key);
	unsigned long long number;
	char *end;

	if (strncmp(line, key, length) != 0)
		return false;
	number = strtoull(line + length, &end, 10);
	if (end == line + length)
		return false;
	*ret_number = number;
	return true;
}

int room_read_available(FILE *meminfo, uint64_t *ret_bytes)
{
	char line[LINE_BYTES];
	uint64_t kib;

	while (fgets(line, sizeof(line), meminfo)) {
		if (parse_line(line, "MemAvailable:", &kib)) {
			*ret_bytes = kib * KIB;
			return 0;
		}
	}
	return -EBADMSG;
}

static int host_room(uint64_t *ret_bytes)
{
	CLEANUP_FILE FILE *file = fopen("/proc/meminfo", "re");

	if (!file)
		return -errno;
	return room_read_available(file, ret_bytes);
}

/* A number in a file of one line; "max" is UINT64_MAX. */
static int read_number(const char *folder, const char *name, uint64_t *ret_number)
{
	char path[PATH_MAX];
	char line[LINE_BYTES];
	ssize_t length;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	length = procfs_read(path, line, sizeof(line));
	if (length < 0)
		return (int)length;
	if (strcmp(line, "max\n") == 0) {
		*ret_number = UINT64_MAX;
		return 0;
	}
	return parse_line(line, "", ret_number) ? 0 : -EBADMSG;
}

/* File pages of the cgroup that reclaim can take: they do not stand in the way. */
static uint64_t read_reclaimable(const char *folder)
{
	char path[PATH_MAX];
	char line[LINE_BYTES];
	CLEANUP_FILE FILE *file = NULL;
	uint64_t bytes = 0;
	uint64_t value;

	if (snprintf(path, sizeof(path), "%s/memory.stat", folder) >= (int)sizeof(path))
		return 0;
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (parse_line(line, "inactive_file ", &value) ||
			parse_line(line, "active_file ", &value))
			bytes += value;
	}
	return bytes;
}

/* UINT64_MAX when the cgroup sets no limit. */
static uint64_t cgroup_room(const char *folder)
{
	uint64_t limit = UINT64_MAX;
	uint64_t current = 0;
	uint64_t used;

	if (read_number(folder, "memory.max", &limit) < 0 || limit == UINT64_MAX)
		return UINT64_MAX;
	if (read_number(folder, "memory.current", &current) < 0)
		return UINT64_MAX;
	used = current - MIN(current, read_reclaimable(folder));
	return limit - MIN(limit, used);
}

/* The path of @pid in the v2 hierarchy, below CGROUP_ROOT. */
static int cgroup_path(pid_t pid, char *ret_path, size_t size_bytes)
{
	char name[64];
	char line[PATH_MAX];
	CLEANUP_FILE FILE *file = NULL;

	(void)snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
	file = fopen(name, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		if (snprintf(ret_path, size_bytes, CGROUP_ROOT "%s", line + 3) >= (int)size_bytes)
			return -ENAMETOOLONG;
		return 0;
	}
	return -ENOENT;
}

int room_for(pid_t pid, uint64_t *ret_bytes)
{
	char path[PATH_MAX];
	uint64_t room = 0;
	int rc = host_room(&room);

	if (rc < 0)
		return rc;
	rc = cgroup_path(pid, path, sizeof(path));
	while (rc == 0 && strlen(path) > strlen(CGROUP_ROOT)) {
		char *slash = strrchr(path, '/');
		uint64_t left = cgroup_room(path);

		room = MIN(room, left);
		ASSERT(slash != NULL);
		*slash = '\0';
	}
	*ret_bytes = room;
	return 0;
}

int room_missing(pid_t pid, uint64_t bytes, uint64_t *ret_missing)
{
	uint64_t room = 0;
	uint64_t own_room = 0;
	int rc = room_for(pid, &room);

	if (rc == 0)
		rc = room_for(getpid(), &own_room);
	if (rc < 0)
		return rc;
	room = MIN(room, own_room);
	if (bytes != 0)
		bytes += RESERVE_BYTES;
	*ret_missing = bytes > room ? bytes - room : 0;
	return 0;
}

int room_check(pid_t pid, uint64_t bytes, struct problem *problem)
{
	uint64_t missing;
	int rc = room_missing(pid, bytes, &missing);

	if (rc < 0)
		return problem_set(problem, rc, "no-memory-information",
			"cannot tell how much memory is free: %s", strerror(-rc));
	if (missing == 0)
		return 0;
	return problem_set(problem, -ENOMEM, "no-memory",
		"%" PRIu64 " MiB are to come back into RAM and %d MiB are to stay free: %" PRIu64
		" MiB are missing",
		divide_up(bytes, MIB), (int)(RESERVE_BYTES / MIB), divide_up(missing, MIB));
}
