/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/mappers.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/attach.h"
#include "ctl/member.h"
#include "ctl/problem.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

static bool is_named(pid_t pid, const pid_t *pids, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (pids[i] == pid)
			return true;
	}
	return false;
}

int mappers_foreign(const struct area_list *areas, const pid_t *pids, uint32_t count,
	struct mapper **ret_mappers, uint32_t *ret_count)
{
	struct mapping items[REGIONS_MAX];
	struct mapping_list list = {.item = items, .count = areas->count};
	struct mapper *mappers = NULL;
	uint32_t found = 0;
	uint32_t kept = 0;
	int rc;

	memset(items, 0, sizeof(items));
	for (uint32_t i = 0; i < areas->count; i++) {
		items[i].device = areas->item[i].device;
		items[i].inode = areas->item[i].inode;
		items[i].file_offset = areas->item[i].file_offset;
		items[i].end = areas->item[i].size_bytes;
	}
	rc = maps_find_mappers(&list, &mappers, &found);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < found; i++) {
		if (!is_named(mappers[i].pid, pids, count))
			mappers[kept++] = mappers[i];
	}
	if (kept == 0) {
		free(mappers);
		mappers = NULL;
	}
	*ret_mappers = mappers;
	*ret_count = kept;
	return 0;
}

void mappers_text(const struct mapper *mappers, uint32_t count, char *ret_text, size_t size_bytes)
{
	size_t used = 0;

	ASSERT(size_bytes > 0);
	ret_text[0] = '\0';
	for (uint32_t i = 0; i < count && used < size_bytes; i++) {
		int length = snprintf(ret_text + used, size_bytes - used, "%s%d (%s)",
			i == 0 ? "" : ", ", (int)mappers[i].pid, mappers[i].comm);

		ASSERT(length > 0);
		used += (size_t)length;
	}
}

int mappers_check(struct attachment *attachment, struct job_result *result)
{
	pid_t pids[PROCESSES_MAX];
	char names[MAPPERS_TEXT_BYTES];
	uint32_t members = 0;
	int rc;

	free(result->mappers);
	result->mappers = NULL;
	result->mapper_count = 0;
	for (uint32_t i = 0; i < attachment->member_count; i++) {
		const struct member *member = &attachment->member[i];

		/* What has its number, if anything has, is none of us. */
		if (!member_is_alive(member))
			continue;
		pids[members++] = member->target.pid;
		rc = member_check_maps(member, &attachment->areas, &result->problem);
		if (rc < 0)
			return rc;
	}
	if (members == 0)
		return problem_set(&result->problem, -ESRCH, "process-gone",
			"every process of the VM has ended or runs another program: detach it");
	rc = mappers_foreign(
		&attachment->areas, pids, members, &result->mappers, &result->mapper_count);
	if (rc < 0)
		return problem_set(&result->problem, rc, "scan-failed",
			"cannot look for processes that map the memory: %s", strerror(-rc));
	if (result->mapper_count == 0)
		return 0;
	mappers_text(result->mappers, result->mapper_count, names, sizeof(names));
	return problem_set(&result->problem, -EXDEV, "new-mapper",
		"the memory is also mapped by %s: nothing is moved out while a process that maps "
		"it "
		"is not attached; add it to the VM or end it",
		names);
}
