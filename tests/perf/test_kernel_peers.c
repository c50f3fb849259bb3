/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel as a contestant: its floors fault at each touch, its swap really swaps, gives every
 * page back as it was, and leaves nothing on the host, however the benchmark ends.
 */
#include <dirent.h>
#include <glob.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../support/check.h"
#include "perf/contestant/contestant.h"
#include "perf/contestant/swap.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "tests/perf/touch_all.h"

#define PAGES	(16 * MIB / PAGE_BYTES)
#define LEFT_MS 60000

static char directory[] = "/var/tmp/vmswap-test.XXXXXX";
static const char *skipped;

static void remove_directory(void)
{
	(void)rmdir(directory);
}

static struct contestant_setup setup_of(const char *option, bool is_anonymous)
{
	return (struct contestant_setup){
		.client = {.pages = PAGES, .is_anonymous = is_anonymous, .content = CLIENT_TEXT},
		.directory = directory,
		.option = option,
	};
}

/* "PID (NAME) S …": @field counts from 1, as in proc(5). */
static uint64_t faults_of(pid_t pid, int field)
{
	char path[32];
	char line[1024] = "";
	FILE *stat;
	char *at;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	stat = fopen(path, "re");
	CHECK(stat);
	CHECK(fgets(line, sizeof(line), stat));
	(void)fclose(stat);
	at = strrchr(line, ')');
	for (int i = 2; i < field; i++)
		at = strchr(at + 1, ' ');
	return strtoull(at, NULL, 10);
}

#define MINOR_FAULTS 10
#define MAJOR_FAULTS 12

static void floor_faults_at_each_touch(const char *option, bool is_anonymous)
{
	struct contestant_setup setup = setup_of(option, is_anonymous);
	struct contestant kernel;
	uint64_t before;

	setup.client.zero_percent = strcmp(option, "zero") == 0 ? 100 : 10;
	CHECK(contestant_open(&kernel, &contestant_kernel, &setup) == 0);
	for (int round = 0; round < 2; round++) {
		CHECK(kernel.operations->stage(&kernel) == 0);
		before = faults_of(client_pid(kernel.client), MINOR_FAULTS);

		touch_all(kernel.client, PAGES, true);

		CHECK(faults_of(client_pid(kernel.client), MINOR_FAULTS) - before >= PAGES);
	}
	contestant_close(&kernel);
}

static void refuses(
	const struct contestant_operations *operations, const char *option, bool is_anonymous)
{
	const struct contestant_setup setup = setup_of(option, is_anonymous);
	struct contestant contestant;

	CHECK(contestant_open(&contestant, operations, &setup) == -EINVAL);
	CHECK(contestant.why[0] != '\0');
	contestant_close(&contestant);
}

/* KiB in use of all swap areas, or -1: there is none. */
static long swap_used_kib(void)
{
	CLEANUP_FILE FILE *swaps = fopen("/proc/swaps", "re");
	char line[1024];
	long sum = -1;

	CHECK(swaps);
	while (fgets(line, sizeof(line), swaps)) {
		long used;

		if (sscanf(line, "/%*s %*s %*d %ld", &used) == 1)
			sum = MAX(sum, 0) + used;
	}
	return sum;
}

static size_t count_paths(const char *pattern)
{
	glob_t found;
	size_t count = 0;

	if (glob(pattern, 0, NULL, &found) == 0) {
		count = found.gl_pathc;
		globfree(&found);
	}
	return count;
}

static bool is_nothing_left(size_t zrams)
{
	char pattern[sizeof(directory) + 8];

	(void)snprintf(pattern, sizeof(pattern), "%s/*", directory);
	return swap_used_kib() < 0 && count_paths(pattern) == 0 &&
	       count_paths("/sys/fs/cgroup/vmswap-bench-*") == 0 &&
	       count_paths("/sys/fs/cgroup/*/vmswap-bench-*") == 0 &&
	       count_paths("/dev/zram*") == zrams;
}

static bool is_lacking(int error)
{
	return error == -EPERM || error == -EACCES || error == -ENODEV || error == -ENOENT ||
	       error == -EBUSY || error == -EROFS;
}

/* False: the host lacks what it takes, which is noted. */
static bool open_swap(struct contestant *swap, const char *option, bool is_anonymous)
{
	static char why[sizeof(swap->why) + 16];
	const struct contestant_setup setup = setup_of(option, is_anonymous);
	const int error = contestant_open(swap, &contestant_swap, &setup);

	if (error == 0)
		return true;
	(void)snprintf(why, sizeof(why), "%s: %s", option, swap->why);
	(void)fprintf(stderr, "%s\n", why);
	CHECK(is_lacking(error));
	contestant_close(swap);
	skipped = why;
	return false;
}

static void evict(struct contestant *swap)
{
	CHECK(client_dirty(swap->client) == 0);
	CHECK(swap->operations->evict(swap) == 0);

	CHECK(contestant_swap_resident_share(swap) <= 0.1);
	CHECK(swap_used_kib() * 1024 > (long)(PAGES * PAGE_BYTES) * 9 / 10);
	CHECK(swap->moved_bytes > PAGES * PAGE_BYTES * 9 / 10);
	CHECK(swap->moved_bytes <= PAGES * PAGE_BYTES);
	CHECK(swap->moved_ns > 0);
}

static void swap_gives_back_what_it_took(const char *option, bool is_anonymous)
{
	const size_t zrams = count_paths("/dev/zram*");
	struct contestant swap;
	uint64_t resident;
	uint64_t before;

	if (!open_swap(&swap, option, is_anonymous))
		return;
	CHECK(contestant_swap_page_cluster(&swap) < 16);
	for (int round = 0; round < 3; round++) {
		evict(&swap);
		before = faults_of(client_pid(swap.client), MAJOR_FAULTS);

		touch_all(swap.client, PAGES, round % 2 == 1);

		/* The others were read ahead, up to 2^page-cluster pages at a time. */
		CHECK(faults_of(client_pid(swap.client), MAJOR_FAULTS) - before > PAGES / 32);
	}
	evict(&swap);
	CHECK(swap.operations->restore(&swap) == 0);
	CHECK(swap.moved_bytes > PAGES * PAGE_BYTES * 9 / 10);
	CHECK(client_resident(swap.client, &resident) == 0);
	CHECK(resident == PAGES);
	touch_all(swap.client, PAGES, false);
	evict(&swap);

	contestant_close(&swap);
	CHECK(is_nothing_left(zrams));
}

/* The benchmark, in a process of its own, with its pages out. */
static pid_t start_bench(const char *option)
{
	int ready[2];
	char byte = 0;
	pid_t pid;

	CHECK(pipe(ready) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		struct contestant swap;

		CHECK(open_swap(&swap, option, false));
		evict(&swap);
		CHECK(write(ready[1], "r", 1) == 1);
		for (;;)
			(void)pause();
	}
	(void)close(ready[1]);
	CHECK(read(ready[0], &byte, 1) == 1);
	(void)close(ready[0]);
	CHECK(swap_used_kib() > 0);
	return pid;
}

static void kill_and_reap(pid_t pid)
{
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, NULL, 0) == pid);
}

static bool wait_until_nothing_left(size_t zrams)
{
	const uint64_t deadline_ns = clock_ns() + LEFT_MS * NS_PER_MS;
	const struct timespec step = {.tv_nsec = 10 * (long)NS_PER_MS};

	while (!is_nothing_left(zrams) && clock_ns() < deadline_ns)
		(void)nanosleep(&step, NULL);
	return is_nothing_left(zrams);
}

static void killed_benchmark_leaves_nothing(const char *option)
{
	const size_t zrams = count_paths("/dev/zram*");

	kill_and_reap(start_bench(option));

	CHECK(wait_until_nothing_left(zrams));
}

/* The cgroup is named after the keeper. */
static pid_t find_keeper(void)
{
	glob_t found;
	pid_t pid;

	if (glob("/sys/fs/cgroup/vmswap-bench-*", 0, NULL, &found) != 0)
		CHECK(glob("/sys/fs/cgroup/*/vmswap-bench-*", 0, NULL, &found) == 0);
	CHECK(found.gl_pathc == 1);
	pid = (pid_t)strtol(strrchr(found.gl_pathv[0], '-') + 1, NULL, 10);
	globfree(&found);
	return pid;
}

/* kill(2) returns before a process that is no child of ours has ended. */
static void wait_until_gone(pid_t pid)
{
	const uint64_t deadline_ns = clock_ns() + LEFT_MS * NS_PER_MS;
	const struct timespec step = {.tv_nsec = 10 * (long)NS_PER_MS};

	while (kill(pid, 0) == 0 && clock_ns() < deadline_ns)
		(void)nanosleep(&step, NULL);
	CHECK(kill(pid, 0) < 0);
}

static void next_run_removes_what_a_killed_keeper_left(const char *option)
{
	const size_t zrams = count_paths("/dev/zram*");
	const pid_t bench = start_bench(option);
	const pid_t keeper = find_keeper();
	struct contestant swap;

	CHECK(kill(keeper, SIGKILL) == 0);
	kill_and_reap(bench);
	wait_until_gone(keeper);
	CHECK(swap_used_kib() >= 0);

	CHECK(open_swap(&swap, "file", true));
	evict(&swap);
	contestant_close(&swap);

	CHECK(is_nothing_left(zrams));
}

/* Two benchmarks at once would swap into one another's area. */
static void second_one_is_refused(void)
{
	const size_t zrams = count_paths("/dev/zram*");
	const struct contestant_setup setup = setup_of("file", false);
	struct contestant first;
	struct contestant second;

	CHECK(open_swap(&first, "file", false));

	CHECK(contestant_open(&second, &contestant_swap, &setup) == -EBUSY);
	CHECK(strstr(second.why, "already"));
	contestant_close(&second);
	evict(&first);
	touch_all(first.client, PAGES, false);

	contestant_close(&first);
	CHECK(is_nothing_left(zrams));
}

int main(void)
{
	static const char *const options[] = {"file", "zram"};

	CHECK(mkdtemp(directory));
	CHECK(atexit(remove_directory) == 0);
	floor_faults_at_each_touch("minor", false);
	floor_faults_at_each_touch("zero", false);
	floor_faults_at_each_touch("zero", true);
	refuses(&contestant_kernel, "minor", true);
	refuses(&contestant_kernel, "zero", false);
	refuses(&contestant_kernel, "major", false);
	refuses(&contestant_swap, "tape", false);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		skipped = NULL;
		swap_gives_back_what_it_took(options[i], false);
		if (skipped)
			break;
		swap_gives_back_what_it_took(options[i], true);
		killed_benchmark_leaves_nothing(options[i]);
		next_run_removes_what_a_killed_keeper_left(options[i]);
		if (i == 0)
			second_one_is_refused();
	}
	if (skipped)
		(void)printf("skipped: %s\n", skipped);
	return skipped ? 77 : 0;
}
