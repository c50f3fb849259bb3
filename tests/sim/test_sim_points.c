/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon dies at every point of a run: at each call below the engine and around each store to a
 * page word. At a point the world is copied, a successor takes it over, is judged, and the world is
 * put back: the run goes on as if nothing had been.
 *
 *   run     ──┬────────┬────────┬────────┬───►   guests run, control moves pages, operations fail
 *             │copy    │        │        │
 *             └► death, recovery (which dies as well, every other time; whose first operations
 *                fail), every page against the model, guests that wait are served, tables add up;
 *                now and then it lives on, moves pages, and its guests read everything
 *
 * A point counts when what the death leaves (fake_fingerprint()) was never tried before, in any
 * world. Options: see usage(). Every world is a child, for a seed; a failure tells seed and step.
 */
#include <getopt.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/copy_record.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "tests/sim/arena.h"
#include "tests/sim/sim.h"
#include "tests/support/fake_crash.h"
#include "tests/support/fake_snapshot.h"

/* Points tried in one world, then comes the next seed. */
#define WORLD_POINTS 2500u
/* Operations within which a world has them, or is left. */
#define OPERATIONS_MAX 20000u
/* A recovery dies at one of its first points, so often at most. */
#define RECOVERY_POINTS 40u
#define DEATHS_MAX	4u
/* The successor lives on: one in so many; memory is compared: one in so many. */
#define LIFE_IN	   64u
#define COMPARE_IN 1024u
/* Scheduling points of a gap without a daemon, at most; accesses there that discard, one in. */
#define GAP_POINTS 40u
#define DISCARD_IN 8u
/* Turns within which waiting guests are served. */
#define TURNS_MAX 100000u
#define JOBS_MAX  64u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POINTS_DEFAULT 20000u
#else
#define POINTS_DEFAULT 1000000u
#endif

/* A bug that is planted, to see that it is found. */
enum mutant {
	HONEST,
	READING_OUT,	/* a page that was being read and is in RAM stays out */
	STALE_RECORD,	/* pages count as copied in for ever */
	PUNCHING_EMPTY, /* a page that was being punched is taken for zeros */
	WITHOUT_WAKE,	/* nobody is woken */
	WITHOUT_DRAIN,	/* writes of the dead may still come */
	WRONG_SLOT,	/* a page gets its neighbour's slot */
	UNHEALED,	/* what was staged is left so */
	MUTANTS,
};

static const char *const mutant_name[MUTANTS] = {
	"honest",
	"reading-out",
	"stale-record",
	"punching-empty",
	"without-wake",
	"without-drain",
	"wrong-slot",
	"unhealed",
};

static struct {
	uint64_t points, seed, only_step;
	uint32_t jobs;
	enum mutant mutant;
} option = {.points = POINTS_DEFAULT, .seed = 1, .jobs = 2};

/* What all worlds share. */
static struct board {
	_Atomic uint64_t points, repeated, deaths, failed_operations, lives;
	_Atomic uint64_t next_world;
	_Atomic bool has_failed;
	uint64_t step[JOBS_MAX]; /* where each job is */
	uint64_t places;	 /* of prints */
	_Atomic uint64_t print[];
} * board;

static uint64_t *step; /* of this job */
static uint64_t tried; /* in this world */
static jmp_buf died;

/* The linker puts them in the way of every caller (--wrap). */
void __real_page_move(
	struct page_table *table, struct stats_block *stats, uint64_t page, page_word to);
void __wrap_page_move(
	struct page_table *table, struct stats_block *stats, uint64_t page, page_word to);
void __real_page_put(struct page_table *table, uint64_t page, page_word to);
void __wrap_page_put(struct page_table *table, uint64_t page, page_word to);
int __real_uffd_wake(int fd, uint64_t address, uint64_t size_bytes);
int __wrap_uffd_wake(int fd, uint64_t address, uint64_t size_bytes);
void __real_fake_drain(void);
void __wrap_fake_drain(void);
void __real_copy_record_begin(struct copy_record *record, uint64_t page, uint64_t pages);
void __wrap_copy_record_begin(struct copy_record *record, uint64_t page, uint64_t pages);
void __real_copy_record_end(struct copy_record *record);
void __wrap_copy_record_end(struct copy_record *record);

static bool is_planted(enum mutant mutant)
{
	return option.mutant == mutant && arena_is_used();
}

static page_word mutate(page_word from, page_word to)
{
	if (is_planted(READING_OUT) && page_state_of(from) == PAGE_READING &&
		page_state_of(to) == PAGE_RESIDENT)
		return page_with_slot(PAGE_SWAPPED, page_slot_of(from), 0);
	if (is_planted(PUNCHING_EMPTY) && page_state_of(from) == PAGE_PUNCHING)
		return page_plain(PAGE_EMPTY);
	if (is_planted(WRONG_SLOT) && page_state_of(from) == PAGE_PUNCHING && page_has_slot(to))
		return page_with_slot(PAGE_SWAPPED, page_slot_of(to) ^ 1, 0);
	return to;
}

void __wrap_page_move(
	struct page_table *table, struct stats_block *stats, uint64_t page, page_word to)
{
	fake_crash_point();
	__real_page_move(table, stats, page, mutate(page_load(table, page), to));
	fake_crash_point();
}

/* A successor makes the words true again. */
void __wrap_page_put(struct page_table *table, uint64_t page, page_word to)
{
	const page_word from = page_load(table, page);

	fake_crash_point();
	if (!is_planted(UNHEALED) || page_state_of(from) != PAGE_STAGED)
		__real_page_put(table, page, mutate(from, to));
	fake_crash_point();
}

int __wrap_uffd_wake(int fd, uint64_t address, uint64_t size_bytes)
{
	return is_planted(WITHOUT_WAKE) ? 0 : __real_uffd_wake(fd, address, size_bytes);
}

void __wrap_copy_record_begin(struct copy_record *record, uint64_t page, uint64_t pages)
{
	fake_crash_point();
	if (option.mutant == STALE_RECORD)
		atomic_store(&record->pages, 0);
	__real_copy_record_begin(record, page, pages);
	fake_crash_point();
}

void __wrap_copy_record_end(struct copy_record *record)
{
	fake_crash_point();
	if (option.mutant != STALE_RECORD)
		__real_copy_record_end(record);
	fake_crash_point();
}

void __wrap_fake_drain(void)
{
	if (!is_planted(WITHOUT_DRAIN))
		__real_fake_drain();
}

/* False: it was there. */
static bool add_print(uint64_t print)
{
	uint64_t place = print;

	print |= 1; /* 0 is a free place */
	for (;; place++) {
		_Atomic uint64_t *at = &board->print[place % board->places];
		uint64_t there = 0;

		if (atomic_compare_exchange_strong(at, &there, print))
			return true;
		if (there == print)
			return false;
	}
}

/* While there is no daemon, guests use what is mapped, and give pages back more than ever. */
static void live_without(void)
{
	struct fake_config *config = fake_config();
	const uint32_t discard_in = config->discard_in;

	config->discard_in = DISCARD_IN;
	fake_run((uint32_t)fake_random(GAP_POINTS));
	config->discard_in = discard_in;
}

static void die_again(void *sim)
{
	(void)sim;
	longjmp(died, 1);
}

/* Until one comes through. */
static void recover(struct sim *sim)
{
	struct fake_config *config = fake_config();
	volatile uint32_t deaths = 0;

	config->crash = die_again;
	config->crash_in = 0;
	(void)setjmp(died);
	deaths++;
	fake_crash();
	if (fake_random(2) == 0)
		live_without();
	if (deaths < DEATHS_MAX && fake_random(2) == 0)
		config->crash_in = 1 + fake_random(RECOVERY_POINTS);
	/* The n-th operation that can fail does. */
	config->fail_at = fake_random(2) == 0 ? fake_operations() + 1 + fake_random(12) : 0;
	config->fail_how = (uint32_t)fake_random(12);
	sim_recover(sim);
	config->crash_in = 0;
	atomic_fetch_add(&board->deaths, deaths);
}

/* Nobody waits for ever. */
static void serve_waiters(struct sim *sim)
{
	uint32_t turns = 0;

	fake_pause(true);
	fake_progress();
	while (fake_blocked() > 0 && turns++ < TURNS_MAX)
		sim_turn(sim);
	if (fake_blocked() > 0)
		fake_fail("HANG: %u guests wait though nothing else happens", fake_blocked());
	fake_pause(false);
	sim_check(sim);
}

static void live_on(struct sim *sim)
{
	for (uint32_t i = 0; i < 3; i++)
		sim_random_operation(sim);
	(void)sim_out(sim);
	sim_read_all(sim);
	sim_all_in(sim);
	fake_verify();
	atomic_fetch_add(&board->lives, 1);
}

static void try_successor(const struct sim *sim)
{
	const struct shard *current = shard_current;
	struct sim successor = *sim;

	fake_reseed(option.seed * 0x9e3779b97f4a7c15u + *step);
	fake_config()->sim = &successor;
	fake_config()->point = NULL;
	recover(&successor);
	sim_audit(&successor);
	serve_waiters(&successor);
	atomic_fetch_add(&board->failed_operations,
		fake_config()->fail_at > 0 && fake_config()->fail_at <= fake_operations());
	if (fake_random(LIFE_IN) == 0)
		live_on(&successor);
	shard_current = current;
}

static void point(void *argument)
{
	const struct sim *sim = argument;
	uint64_t sum = 0;

	++*step;
	if (option.only_step > 0 && *step != option.only_step)
		return;
	if (!add_print(fake_fingerprint())) {
		atomic_fetch_add(&board->repeated, 1);
		return;
	}
	if (tried % COMPARE_IN == 0)
		sum = fake_content_sum();
	fake_save();
	arena_begin();
	try_successor(sim);
	arena_end();
	fake_restore();
	if (tried % COMPARE_IN == 0)
		ASSERT(sum == fake_content_sum());
	tried++;
	atomic_fetch_add(&board->points, 1);
}

static void choose_world(struct sim_config *config, uint64_t seed)
{
	static const uint32_t none_or[] = {0, 3000, 300};
	struct fake_config *world = &config->world;

	config->shards = 1 + (uint32_t)(seed % 2);
	config->processes = seed % 4 == 0 ? 2 : 1;
	config->threads = 2 + (uint32_t)(seed % 4);
	config->pages[0] = 12 + seed % 7 * 8;
	config->pages[1] = seed % 3 == 0 ? 9 : 0;
	config->verify_clean = seed % 4 != 1;
	config->is_encrypted = seed / 2 % 2 == 1;
	world->guest_rate = 1 + (uint32_t)(seed % 5);
	world->delay = 1 + (uint32_t)(seed % 5);
	world->disk_bytes = 2 * CHUNK_BYTES * config->shards;
	world->features = SIM_FEATURES;
	if (seed % 5 == 4)
		world->features = UFFD_CAN_POISON | UFFD_EVENTS;
	for (uint32_t i = 0; i < FAKE_ROT; i++)
		world->failure_in[i] = none_or[seed / 2 % 3];
	world->discard_in = seed % 2 == 1 ? 500 : 0;
	world->allocate_in = seed % 4 == 3 ? 200 : 0;
}

static void one_world(uint64_t seed)
{
	struct sim_config config = sim_defaults(seed);
	struct sim sim;

	*step = 0;
	option.seed = seed;
	choose_world(&config, seed);
	sim_open(&config, &sim);
	fake_config()->point = point;
	for (uint32_t i = 0; i < OPERATIONS_MAX && tried < WORLD_POINTS; i++) {
		if (atomic_load(&board->has_failed) || atomic_load(&board->points) >= option.points)
			break;
		if (option.only_step > 0 && *step > option.only_step)
			break;
		sim_random_operation(&sim);
	}
	fake_config()->point = NULL;
	sim_settle_guests(&sim);
	sim_read_all(&sim);
	sim_close(&sim);
	_Exit(0);
}

/* Worlds one after the other, until all jobs together have tried enough. */
static void work(uint64_t job)
{
	/* Worlds that bring nothing new end it too. */
	const uint64_t worlds = 4 * option.points / WORLD_POINTS + 4;

	step = &board->step[job];
	while (!atomic_load(&board->has_failed) && atomic_load(&board->points) < option.points) {
		const uint64_t world = atomic_fetch_add(&board->next_world, 1);
		int code;

		if (world >= worlds || (option.only_step > 0 && world > 0))
			break;
		code = sim_child(one_world, option.seed + world, option.mutant != HONEST);
		if (code == 0)
			continue;
		atomic_store(&board->has_failed, true);
		(void)fprintf(stderr, "ends with %d: --seed %lu --only %lu\n", code,
			option.seed + world, *step);
	}
}

static void work_in_jobs(void)
{
	const uint64_t places = 4 * option.points + 4096;
	const size_t size = sizeof(*board) + places * sizeof(board->print[0]);
	pid_t child[JOBS_MAX];

	board = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(board != MAP_FAILED);
	board->places = places;
	for (uint32_t job = 0; job < option.jobs; job++) {
		child[job] = fork();
		ASSERT(child[job] >= 0);
		if (child[job] == 0) {
			work(job);
			_Exit(0);
		}
	}
	for (uint32_t job = 0; job < option.jobs; job++) {
		int status;

		ASSERT(waitpid(child[job], &status, 0) == child[job]);
		if (status != 0)
			atomic_store(&board->has_failed, true);
	}
	(void)printf("%s: %lu distinct crash points (%lu seen before), %lu deaths, %lu recoveries "
		     "with a failing operation, %lu lived on, %lu worlds\n",
		mutant_name[option.mutant], board->points, board->repeated, board->deaths,
		board->failed_operations, board->lives, board->next_world);
}

static int usage(FILE *to)
{
	(void)fprintf(to,
		"test_sim_points [--points N] [--seed S] [--jobs J] [--only STEP] [--mutant NAME]\n"
		"  --points N  crash points to try, each unlike all others: %u\n"
		"  --seed S    of the first world: 1\n"
		"  --jobs J    worlds at the same time: 2\n"
		"  --only STEP this point of the first world alone, as a failure tells it\n"
		"  --mutant M  plants a bug; fails unless it is found:\n             ",
		POINTS_DEFAULT);
	for (uint32_t i = 1; i < MUTANTS; i++)
		(void)fprintf(to, " %s", mutant_name[i]);
	(void)fprintf(to, "\n");
	return to == stdout ? 0 : 2;
}

static enum mutant mutant_of(const char *name)
{
	uint32_t i = 0;

	while (i < MUTANTS && strcmp(name, mutant_name[i]) != 0)
		i++;
	return (enum mutant)i;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"points", required_argument, NULL, 'p'},
		{"seed", required_argument, NULL, 's'},
		{"jobs", required_argument, NULL, 'j'},
		{"only", required_argument, NULL, 'o'},
		{"mutant", required_argument, NULL, 'm'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (letter) {
		case 'p': option.points = strtoull(optarg, NULL, 0); break;
		case 's': option.seed = strtoull(optarg, NULL, 0); break;
		case 'j': option.jobs = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'o': option.only_step = strtoull(optarg, NULL, 0); break;
		case 'm': option.mutant = mutant_of(optarg); break;
		case 'h': return usage(stdout);
		default: return usage(stderr);
		}
	}
	if (optind != argc || option.points == 0 || option.jobs == 0 || option.jobs > JOBS_MAX ||
		option.mutant == MUTANTS)
		return usage(stderr);
	work_in_jobs();
	if (option.mutant != HONEST)
		return board->has_failed ? 0 : 1;
	return board->has_failed || (option.only_step == 0 && board->points < option.points);
}
