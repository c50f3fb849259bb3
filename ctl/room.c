/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/room.h"

#include <inttypes.h>
#include <string.h>

#include "ctl/memcg.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define LINE_BYTES 512

/* What is kept free besides: page tables, the VMMs, the daemon itself. */
#define RESERVE_BYTES (64 * MIB)

int room_read_available(FILE *meminfo, uint64_t *ret_bytes)
{
	static const char key[] = "MemAvailable:";
	char line[LINE_BYTES];
	uint64_t kib;

	while (fgets(line, sizeof(line), meminfo)) {
		const char *text = line + sizeof(key) - 1;

		if (strncmp(line, key, sizeof(key) - 1) == 0 &&
			procfs_take_number(&text, 10, '\0', &kib)) {
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

int room_for(pid_t pid, uint64_t *ret_bytes)
{
	uint64_t room = 0;
	uint64_t left;
	int rc = host_room(&room);

	if (rc < 0)
		return rc;
	left = pid > 0 ? memcg_room(pid) : UINT64_MAX;
	*ret_bytes = MIN(room, left);
	return 0;
}

int room_missing(pid_t pid, uint64_t bytes, uint64_t *ret_missing)
{
	uint64_t room = 0;
	const int rc = room_for(pid, &room);

	if (rc < 0)
		return rc;
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
