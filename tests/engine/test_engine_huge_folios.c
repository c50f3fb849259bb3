/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule 6: guest memory on huge folios. Punching part of a folio that somebody holds a reference to
 * zeroes it in place instead of making a hole; nothing may be lost by that, and RAM must come back.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/engine_rig.h"

#define SWITCH "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define PAGES  (16 * (uint64_t)CHUNK_PAGES)

static char before[16];

/* The word in brackets is the one in force. */
static void remember(void)
{
	char line[256] = "";
	FILE *file = fopen(SWITCH, "re");
	char *word;

	if (!file || !fgets(line, sizeof(line), file) || !(word = strchr(line, '['))) {
		printf("skipped: no huge pages for shmem on this kernel\n");
		exit(77);
	}
	(void)fclose(file);
	(void)snprintf(before, sizeof(before), "%.*s", (int)strcspn(word + 1, "]"), word + 1);
}

static bool set(const char *word)
{
	FILE *file = fopen(SWITCH, "we");
	const bool is_open = file != NULL;
	bool is_set = is_open && fputs(word, file) >= 0;

	if (is_open)
		is_set = fclose(file) == 0 && is_set;
	return is_set;
}

static void restore(void)
{
	(void)set(before);
}

int main(void)
{
	const struct rig_config config = {
		.shards = 2,
		.guest = {.pages = PAGES,
			.threads = 2,
			.write_percent = 30,
			.working_percent = 30,
			.zero_percent = 5},
	};
	struct dispatch_result result;
	struct rig rig;

	remember();
	if (!set("always")) {
		printf("skipped: %s cannot be written\n", SWITCH);
		return 77;
	}
	(void)atexit(restore);
	rig_start(&config, &rig);
	for (int cycle = 0; cycle < 6; cycle++) {
		struct stat held;

		CHECK(rig_enable(&rig) > 0);
		rig_dispatch(&rig, cycle % 2 ? CHUNK_OUT : CHUNK_TRIM, &result);
		rig_dispatch(&rig, CHUNK_OUT, &result);
		CHECK(result.error == 0);
		CHECK(fstat(rig.guest.memfd, &held) == 0);
		/* the working set may be back; the rest is not in RAM */
		CHECK((uint64_t)held.st_blocks * 512 < PAGES * PAGE_BYTES * 3 / 4);
		if (cycle == 3)
			rig_disable(&rig);
	}
	printf("stuck %lu refilled %lu\n", rig_stats(&rig).count[STAT_stuck_pages],
		rig_stats(&rig).count[STAT_refilled_pages]);
	rig_stop(&rig);
	return 0;
}
