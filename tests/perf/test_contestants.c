/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every floor and peer that serves faults gives a client its own pages back: after staging, again
 * after staging what was touched, and, where there is a disk, after each way through it. How fast
 * is not tested.
 */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "io/uffd.h"
#include "perf/client/order.h"
#include "perf/contestant/contestant.h"
#include "perf/contestant/crosvm.h"
#include "queue/base/bits.h"
#include "tests/support/check.h"

#define PAGES	4096u
#define THREADS 4u

static uint32_t order[PAGES];
/* Of which each thread is dealt the same pages. */
static uint32_t crowded_order[PAGES];

static void expect(const struct contestant *contestant, int error)
{
	if (error < 0)
		(void)fprintf(stderr, "%s: %s\n", contestant->operations->name, contestant->why);
	CHECK(error == 0);
}

static void must(struct contestant *contestant, int (*operation)(struct contestant *))
{
	expect(contestant, operation(contestant));
}

/* Of the pages none may hold anything but what the client put there. */
static void touch_in_order(
	struct contestant *contestant, const uint32_t *pages, uint64_t count, bool is_write)
{
	struct touch_result result;

	CHECK(client_touch(contestant->client,
		      &(struct touch){
			      .order = pages,
			      .count = count,
			      .threads = THREADS,
			      .cpu = CLIENT_ANY_CPU,
			      .is_write = is_write,
		      },
		      &result) == 0);
	CHECK(result.touches == count);
	CHECK(result.bad_pages == 0);
}

static void touch(struct contestant *contestant, uint64_t count, bool is_write)
{
	touch_in_order(contestant, order, count, is_write);
}

static void open_one(struct contestant *contestant, const struct contestant_operations *operations,
	const char *option)
{
	const struct contestant_setup setup = {
		.client = {.pages = PAGES, .zero_percent = 10, .content = CLIENT_TEXT},
		.cpus = {0},
		.cpu_count = 1,
		.directory = "/var/tmp",
		.option = option,
	};

	expect(contestant, contestant_open(contestant, operations, &setup));
}

static void check_staged(const struct contestant_operations *operations, const char *option)
{
	struct contestant contestant;
	uint64_t cpu_ns;

	open_one(&contestant, operations, option);
	must(&contestant, operations->stage);
	CHECK(contestant.moved_bytes == PAGES * PAGE_BYTES);
	CHECK(contestant.moved_ns > 0);
	cpu_ns = operations->cpu_ns(&contestant);
	touch(&contestant, PAGES, true);
	CHECK(operations->cpu_ns(&contestant) > cpu_ns);

	must(&contestant, operations->stage);
	touch(&contestant, PAGES / 2, true);
	must(&contestant, operations->stage);
	touch_in_order(&contestant, crowded_order, PAGES, false);
	must(&contestant, operations->stage);
	touch(&contestant, PAGES, false);
	contestant_close(&contestant);
}

/* Nothing is staged yet; a guest may ask for its memory back all the same. */
static void check_disk(const struct contestant_operations *operations, const char *option)
{
	struct contestant contestant;

	open_one(&contestant, operations, option);
	must(&contestant, operations->restore);
	CHECK(contestant.moved_bytes == 0);
	must(&contestant, operations->stage);
	CHECK(contestant.freeze_ns > 0);
	must(&contestant, operations->trim);
	CHECK(contestant.moved_bytes > 0);
	CHECK(contestant.moved_bytes < PAGES * PAGE_BYTES / 2);
	must(&contestant, operations->evict);
	CHECK(contestant.moved_bytes > PAGES * PAGE_BYTES / 2);
	touch(&contestant, PAGES, false);

	/* Every page that is not zero has a copy in the file that is still right. */
	must(&contestant, operations->stage);
	must(&contestant, operations->trim);
	CHECK(contestant.moved_bytes == PAGES * PAGE_BYTES);
	must(&contestant, operations->restore);
	touch(&contestant, PAGES, true);

	must(&contestant, operations->stage);
	must(&contestant, operations->evict);
	CHECK(contestant.moved_bytes == PAGES * PAGE_BYTES);
	touch(&contestant, PAGES / 2, true);
	must(&contestant, operations->stage);
	must(&contestant, operations->restore);
	CHECK(contestant.moved_bytes == PAGES * PAGE_BYTES);
	touch(&contestant, PAGES, false);
	contestant_close(&contestant);
}

typedef int contestant_call(struct contestant *);

/* A guest that runs all the while. */
static void check_under_load(const struct contestant_operations *operations)
{
	contestant_call *const all[] = {operations->stage, operations->trim, operations->evict,
		operations->stage, operations->restore};
	struct contestant contestant;
	struct touch_result result;

	open_one(&contestant, operations, NULL);
	CHECK(client_touch_begin(contestant.client, &(struct touch){
							    .order = order,
							    .count = PAGES,
							    .threads = THREADS,
							    .cpu = CLIENT_ANY_CPU,
							    .is_write = true,
							    .is_endless = true,
							    .pace_us = 20,
						    }) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		must(&contestant, all[i]);
	CHECK(client_touch_end(contestant.client, &result) == 0);
	CHECK(result.bad_pages == 0);
	contestant_close(&contestant);
}

/* A handler that crashes takes the client with it: a benchmark that waits gets to know. */
static void check_crash(void)
{
	struct contestant contestant;
	struct touch_result result;
	siginfo_t info;
	pid_t handler;

	open_one(&contestant, &contestant_crosvm, NULL);
	must(&contestant, contestant_crosvm.stage);
	handler = ((const struct crosvm *)contestant.state)->handler.pid;
	CHECK(kill(handler, SIGABRT) == 0);
	CHECK(waitid(P_PID, (id_t)handler, &info, WEXITED | WNOWAIT) == 0);
	CHECK(client_touch(contestant.client,
		      &(struct touch){.order = order, .count = PAGES, .threads = THREADS},
		      &result) == -EPIPE);
	contestant_close(&contestant);
}

static void check_refusals(void)
{
	const struct contestant_setup setup = {.client = {.pages = 1}, .option = "no such kind"};
	struct contestant contestant;

	CHECK(contestant_open(&contestant, &contestant_raw, &setup) == -EINVAL);
	CHECK(strstr(contestant.why, "no such kind"));
	contestant_close(&contestant);
	CHECK(!contestant_raw_name("no such kind"));
	CHECK(strcmp(contestant_raw_name("batch-copy"), "raw-batch-copy") == 0);
}

int main(void)
{
	static const char *const kinds[] = {"continue", "copy", "batch", "batch-copy", "around"};
	uint32_t features;

	if (uffd_features(&features) < 0) {
		printf("skipped: no userfaultfd, or no right to use it\n");
		return 77;
	}
	CHECK(setrlimit(RLIMIT_CORE, &(struct rlimit){0}) == 0);
	CHECK(order_make(ORDER_UNIFORM, PAGES, PAGES, 1, order) == 0);
	for (size_t i = 0; i < PAGES; i++)
		crowded_order[i] = order[i % (PAGES / THREADS)];
	check_refusals();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		check_staged(&contestant_raw, kinds[i]);
	check_staged(&contestant_qemu, NULL);
	check_staged(&contestant_crosvm, NULL);
	check_disk(&contestant_crosvm, NULL);
	check_disk(&contestant_crosvm, "random");
	check_under_load(&contestant_crosvm);
	check_crash();
	return 0;
}
