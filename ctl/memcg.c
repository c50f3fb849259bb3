/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/memcg.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "ctl/procfs.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define LINE_BYTES 512

/* The kernel's documents cgroup-v1/memory.rst and cgroup-v2.rst. */
static const struct {
	const char *root;
	const char *limit, *usage;
	const char *inactive, *active; /* in memory.stat: of file pages, with the cgroups below */
} versions[MEMCG_VERSIONS] = {
	[MEMCG_V1] = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
		"total_inactive_file ", "total_active_file "},
	[MEMCG_V2] = {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ",
		"active_file "},
};

/* A file of one line; "max" is UINT64_MAX. */
static bool read_number(const char *folder, const char *name, uint64_t *ret_number)
{
	char path[PATH_MAX];
	char line[LINE_BYTES];
	const char *text = line;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path) ||
		procfs_read(path, line, sizeof(line)) < 0)
		return false;
	if (strcmp(line, "max\n") != 0)
		return procfs_take_number(&text, 10, '\0', ret_number);
	*ret_number = UINT64_MAX;
	return true;
}

static bool begins(const char *line, const char *key)
{
	return strncmp(line, key, strlen(key)) == 0;
}

/* File pages of the cgroup that reclaim can take: they do not stand in the way. */
static uint64_t read_reclaimable(enum memcg_version version, const char *folder)
{
	const char *inactive = versions[version].inactive;
	const char *active = versions[version].active;
	char path[PATH_MAX];
	char line[LINE_BYTES];
	CLEANUP_FILE FILE *file = NULL;
	uint64_t bytes = 0;
	uint64_t value;

	if (snprintf(path, sizeof(path), "%s/memory.stat", folder) >= (int)sizeof(path))
		return 0;
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		const char *text = strchr(line, ' ');

		if ((begins(line, inactive) || begins(line, active)) &&
			procfs_take_number(&text, 10, '\0', &value))
			bytes += value;
	}
	return bytes;
}

/* A limit that no machine reaches is none: version 1 says so with a large number. */
static uint64_t room_of(enum memcg_version version, const char *folder)
{
	uint64_t limit;
	uint64_t usage;

	if (!read_number(folder, versions[version].limit, &limit) || limit > INT64_MAX / 2 ||
		!read_number(folder, versions[version].usage, &usage))
		return UINT64_MAX;
	usage -= MIN(usage, read_reclaimable(version, folder));
	return limit - MIN(limit, usage);
}

/* A member of the list between the two colons. */
static bool lists_memory(const char *list, const char *end)
{
	static const char memory[] = "memory";
	const size_t length = sizeof(memory) - 1;

	while (list < end) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		const char *next = comma ? comma : end;

		if ((size_t)(next - list) == length && memcmp(list, memory, length) == 0)
			return true;
		list = next + 1;
	}
	return false;
}

bool memcg_folder(enum memcg_version version, const char *line, char *ret_folder, size_t size_bytes)
{
	const char *list = strchr(line, ':');
	const char *path = list ? strchr(list + 1, ':') : NULL;
	int length;

	if (!path || path[1] != '/')
		return false;
	if (version == MEMCG_V2 ? !begins(line, "0::") : !lists_memory(list + 1, path))
		return false;
	length = snprintf(ret_folder, size_bytes, "%s%.*s", versions[version].root,
		(int)strcspn(path + 1, "\n"), path + 1);
	return length > 0 && (size_t)length < size_bytes;
}

/* @folder is cut to the root of its hierarchy, which has no limit. */
static uint64_t room_up_from(enum memcg_version version, char *folder)
{
	uint64_t room = UINT64_MAX;

	while (strlen(folder) > strlen(versions[version].root)) {
		char *slash = strrchr(folder, '/');
		const uint64_t left = room_of(version, folder);

		ASSERT(slash != NULL);
		room = MIN(room, left);
		*slash = '\0';
	}
	return room;
}

uint64_t memcg_room(pid_t pid)
{
	char name[PROCFS_PATH_BYTES];
	char line[PATH_MAX];
	char folder[PATH_MAX];
	CLEANUP_FILE FILE *file = NULL;
	uint64_t room = UINT64_MAX;

	(void)snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
	file = fopen(name, "re");
	while (file && fgets(line, sizeof(line), file)) {
		for (uint32_t i = 0; i < MEMCG_VERSIONS; i++) {
			const enum memcg_version version = (enum memcg_version)i;
			uint64_t left;

			if (!memcg_folder(version, line, folder, sizeof(folder)))
				continue;
			left = room_up_from(version, folder);
			room = MIN(room, left);
		}
	}
	return room;
}
