/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswap-guest/crew.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "tools/vmswap-guest/direct.h"
#include "tools/vmswap-guest/report.h"

/* BAD lines printed; more say nothing new. */
#define BAD_LINES_MAX 16u
/* One operation in so many also discards, with --holes. */
#define DISCARD_EVERY 8u
/* Pages of one discard: up to so many, as a balloon gives back runs. */
#define DISCARD_PAGES_MAX 8u
/* Longest nap of a throttled thread: it must notice the order to stop. */
#define NAP_NS_MAX (100 * NS_PER_MS)

struct worker {
	struct crew *crew;
	uint64_t random;  /* state */
	uint64_t pace_ns; /* between two operations of this thread; 0: none */
	uint64_t due_ns;
};

struct progress *progress_new(void)
{
	struct progress *progress = mmap(
		NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (progress == MAP_FAILED)
		return NULL;
	progress->leader = getpid();
	return progress;
}

static void raise_to(_Atomic uint64_t *value, uint64_t candidate)
{
	uint64_t old = atomic_load_explicit(value, memory_order_relaxed);

	while (old < candidate && !atomic_compare_exchange_weak_explicit(value, &old, candidate,
					  memory_order_relaxed, memory_order_relaxed))
		;
}

void progress_add_stall(struct progress *progress, uint64_t ns)
{
	raise_to(&progress->stall_ns, ns);
	raise_to(&progress->worst_stall_ns, ns);
}

void progress_add_bad(struct progress *progress, bool as_json, uint64_t page, const char *what,
	const struct mismatch *mismatch)
{
	const uint64_t before = atomic_fetch_add(&progress->bad_pages, 1);

	if (before < BAD_LINES_MAX)
		report_bad(as_json, page, what, mismatch);
	atomic_store(&progress->must_stop, true);
	if (before == 0)
		(void)kill(progress->leader, SIGTERM);
}

static bool is_told_to_stop(const struct crew *crew)
{
	return atomic_load_explicit(&crew->progress->must_stop, memory_order_relaxed);
}

/* Verifies what is claimed; complains. */
static bool verify(struct crew *crew, struct page_claim *claim)
{
	static const char *const kinds[] = {"pattern", "zeros", "discarded"};
	const char *what = kinds[claim->kind];
	struct mismatch mismatch;

	if (memory_verify(&crew->memory, claim, &mismatch))
		return true;
	progress_add_bad(crew->progress, crew->options->json, claim->page, what, &mismatch);
	return false;
}

static bool chance(struct worker *worker, uint32_t percent)
{
	return random_next(&worker->random) % 100 < percent;
}

/* Gives one page back in a way chosen by chance. */
static void discard(struct worker *worker, struct page_claim *claim)
{
	struct crew *crew = worker->crew;
	int rc;

	switch (random_next(&worker->random) % 3) {
	case 0: rc = memory_punch(&crew->memory, claim); break;
	case 1: rc = memory_remove(&crew->memory, claim); break;
	default: rc = memory_unmap(&crew->memory, claim); break;
	}
	if (rc < 0) {
		report_error("cannot discard page %llu: %s", (unsigned long long)claim->page,
			strerror(-rc));
		atomic_store(&crew->progress->has_failed, true);
		atomic_store(&crew->progress->must_stop, true);
	}
	atomic_fetch_add_explicit(&crew->progress->discarded_pages, 1, memory_order_relaxed);
}

static void discard_run(struct worker *worker, uint64_t first)
{
	struct crew *crew = worker->crew;
	const uint64_t count = 1 + random_next(&worker->random) % DISCARD_PAGES_MAX;
	struct page_claim claim;

	for (uint64_t page = first; page < MIN(first + count, crew->hot_pages); page++) {
		if (!memory_try_claim(&crew->memory, page, &claim))
			return;
		discard(worker, &claim);
		memory_release(&crew->memory, &claim);
	}
}

/* One page: verified, then perhaps rewritten. */
static void work_on_page(struct worker *worker, uint64_t page)
{
	struct crew *crew = worker->crew;
	struct page_claim claim;
	const uint64_t begin_ns = clock_ns();

	if (!memory_try_claim(&crew->memory, page, &claim))
		return;
	if (verify(crew, &claim) && !chance(worker, crew->options->read_only_percent))
		memory_rewrite(&crew->memory, &claim, chance(worker, crew->options->zero_percent));
	memory_release(&crew->memory, &claim);
	progress_add_stall(crew->progress, clock_ns() - begin_ns);
	atomic_fetch_add_explicit(&crew->progress->operations, 1, memory_order_relaxed);
}

static void sleep_until_due(struct worker *worker)
{
	uint64_t now_ns;

	worker->due_ns += worker->pace_ns;
	while ((now_ns = clock_ns()) < worker->due_ns && !is_told_to_stop(worker->crew)) {
		const uint64_t nap_ns = MIN(worker->due_ns - now_ns, NAP_NS_MAX);
		const struct timespec nap = {.tv_nsec = (long)nap_ns};

		(void)nanosleep(&nap, NULL);
	}
	/* A thread that was held up does not hurry to make up for it. */
	if (now_ns > worker->due_ns + NAP_NS_MAX)
		worker->due_ns = now_ns;
}

static void *worker_run(void *argument)
{
	CLEANUP_FREE struct worker *worker = argument;
	struct crew *crew = worker->crew;

	worker->due_ns = clock_ns();
	while (!is_told_to_stop(crew)) {
		const uint64_t page = random_next(&worker->random) % crew->hot_pages;

		work_on_page(worker, page);
		if (crew->options->holes && random_next(&worker->random) % DISCARD_EVERY == 0)
			discard_run(worker, page);
		if (worker->pace_ns > 0)
			sleep_until_due(worker);
	}
	return NULL;
}

static void *reader_run(void *argument)
{
	struct crew *crew = argument;

	while (!is_told_to_stop(crew) && direct_step(crew->direct_reader, crew->progress) == 0)
		;
	return NULL;
}

/*
 * Sleeps: what an attacher finds to stop when all others run or wait for a disk. Looks at the order
 * to stop once in a while.
 */
static void *idle_run(void *argument)
{
	const struct crew *crew = argument;

	while (!is_told_to_stop(crew))
		(void)poll(NULL, 0, NAP_NS_MAX / NS_PER_MS);
	return NULL;
}

static int start_thread(struct crew *crew, void *(*run)(void *), void *argument)
{
	int rc;

	ASSERT(crew->thread_count < ARRAY_SIZE(crew->threads));
	rc = pthread_create(&crew->threads[crew->thread_count], NULL, run, argument);
	if (rc == 0)
		crew->thread_count++;
	return -rc;
}

static int start_worker(struct crew *crew, uint32_t index)
{
	const struct guest_options *options = crew->options;
	const uint64_t all_threads = (uint64_t)options->threads * options->processes;
	struct worker *worker = calloc(1, sizeof(*worker));
	int rc;

	if (!worker)
		return -ENOMEM;
	worker->crew = crew;
	worker->random = ((uint64_t)crew->index << 32 | index) + 1;
	worker->pace_ns = options->rate ? NS_PER_S * all_threads / options->rate : 0;
	rc = start_thread(crew, worker_run, worker);
	if (rc < 0)
		free(worker);
	return rc;
}

int crew_start(struct crew *crew)
{
	int rc = 0;

	ASSERT(crew->thread_count == 0);
	for (uint32_t i = 0; i < crew->options->threads && rc == 0; i++)
		rc = start_worker(crew, i);
	if (rc == 0 && crew->direct_reader)
		rc = start_thread(crew, reader_run, crew);
	if (rc == 0)
		rc = start_thread(crew, idle_run, crew);
	return rc;
}

void crew_join(struct crew *crew)
{
	for (uint32_t i = 0; i < crew->thread_count; i++)
		(void)pthread_join(crew->threads[i], NULL);
	crew->thread_count = 0;
}

void crew_fill(struct crew *crew)
{
	struct worker filler = {.crew = crew, .random = 1};
	struct page_claim claim;

	for (uint64_t page = 0; page < crew->work_pages; page++) {
		memory_claim(&crew->memory, page, &claim);
		memory_rewrite(&crew->memory, &claim, chance(&filler, crew->options->zero_percent));
		memory_release(&crew->memory, &claim);
	}
}

uint64_t crew_verify_all(struct crew *crew, bool is_idle)
{
	struct page_claim claim;
	uint64_t bad = 0;

	for (uint64_t page = 0; page < crew->work_pages; page++) {
		memory_claim(&crew->memory, page, &claim);
		bad += !verify(crew, &claim);
		memory_release(&crew->memory, &claim);
	}
	if (is_idle && crew->direct_reader)
		bad += direct_verify(crew->direct_reader, crew->progress);
	return bad;
}
