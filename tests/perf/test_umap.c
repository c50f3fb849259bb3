/* SPDX-License-Identifier: Apache-2.0 */
/*
 * umap as a contestant, with a library that stands in for it: found by file and by directory, its
 * memory has the client's content each time it was evicted, from a process of its own; what cannot
 * be loaded, lacks umap() or ends the process is refused with a reason.
 *
 * usage: test_umap STAND_IN WITHOUT_UMAP ONE_THAT_ENDS
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/check.h"
#include "perf/contestant/contestant.h"
#include "perf/contestant/umap.h"
#include "queue/base/bits.h"
#include "tests/perf/touch_all.h"

#define PAGES (8 * MIB / PAGE_BYTES + 3)

static char directory[] = "/var/tmp/vmswap-test.XXXXXX";

static struct contestant_setup setup_of(const char *path)
{
	return (struct contestant_setup){
		.client = {.pages = PAGES, .zero_percent = 10},
		.directory = directory,
		.option = path,
		.cpus = {0},
		.cpu_count = 1,
	};
}

static void evicted_memory_has_its_content(const char *path)
{
	const struct contestant_setup setup = setup_of(path);
	struct contestant umap;
	pid_t before;

	CHECK(contestant_open(&umap, &contestant_umap, &setup) == 0);
	for (int round = 0; round < 3; round++) {
		before = client_pid(umap.client);

		CHECK(umap.operations->evict(&umap) == 0);

		CHECK(client_pid(umap.client) != before);
		CHECK(client_memfd(umap.client) == -1);
		touch_all(umap.client, PAGES, round == 1);
	}
	contestant_close(&umap);
}

static void is_found_in(const char *folder, const char *library)
{
	char path[64];
	char link[96];

	(void)snprintf(path, sizeof(path), "%s/%s", directory, folder);
	(void)snprintf(link, sizeof(link), "%s/libumap.so", path);
	CHECK(mkdir(path, 0700) == 0);
	CHECK(symlink(library, link) == 0);

	evicted_memory_has_its_content(directory);
	evicted_memory_has_its_content(path);

	CHECK(unlink(link) == 0);
	CHECK(rmdir(path) == 0);
}

static void refuses(const char *path, int error, const char *reason)
{
	const struct contestant_setup setup = setup_of(path);
	struct contestant umap;

	CHECK(contestant_open(&umap, &contestant_umap, &setup) == error);
	CHECK(strstr(umap.why, reason));
	contestant_close(&umap);
}

int main(int count, char **argument)
{
	CHECK(count == 4);
	CHECK(mkdtemp(directory));
	evicted_memory_has_its_content(argument[1]);
	is_found_in("lib", argument[1]);
	refuses(argument[2], -ENOSYS, "has no function umap()");
	refuses(argument[3], -EPIPE, "ended its process");
	refuses(directory, -ENOENT, "no libumap.so at");
	refuses("/nowhere/libumap.so", -ENOENT, "no libumap.so at");
	refuses("/proc/self/status", -ELIBACC, "is not loaded");
	refuses(NULL, -EINVAL, "path");
	/* Nothing is left in it. */
	CHECK(rmdir(directory) == 0);
	return 0;
}
