/* SPDX-License-Identifier: Apache-2.0 */
#include "io/puncher.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "io/filter.h"
#include "io/slice.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "queue/ring.h"
#include "queue/wake.h"

/* About 10 us of punches; a call costs as much as CALL_PAGES more pages. */
#define YIELD_PAGES 16u
#define CALL_PAGES  1u

/*
 * Punchers take turns at a file: two that are at the same inode's lock together take twice as long
 * for a page as one alone. By descriptor, as all shards have the same one of a memfd; others that
 * share a place only wait for each other. A turn of so many pages is about a quarter of a
 * millisecond. Who has had one cannot go before the one that waits, as that one holds `next`.
 */
#define TURNS	   64u
#define TURN_PAGES 256u

struct turn {
	pthread_mutex_t next;
	pthread_mutex_t now;
};

static struct turn turns[TURNS] = {
	[0 ... TURNS - 1] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER},
};

struct punch {
	uint64_t token;
	uint64_t offset;
	uint64_t size_bytes;
	int fd;
	int32_t result;
};

struct puncher {
	/* constant after puncher_open() */
	struct ring *asked; /* owner to thread */
	struct ring *done;  /* thread to owner */
	struct punch *punch;
	uint32_t capacity;
	pthread_t thread;
	bool has_thread;

	/* owner only */
	struct punch **idle; /* stack */
	uint32_t idle_count;
	bool is_pushed; /* since the last kick */

	/* any thread, atomics */
	struct wake owner_wake;
	struct wake thread_wake;
	_Atomic bool must_end;
};

static int32_t run(const struct punch *punch)
{
	int result;

	do {
		/* @disk fallocate */
		result = fallocate(punch->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)punch->offset, (off_t)punch->size_bytes);
	} while (result < 0 && errno == EINTR);
	return result < 0 ? -errno : 0;
}

static void wait_for_work(struct puncher *puncher)
{
	struct pollfd readable = {.fd = puncher->thread_wake.eventfd, .events = POLLIN};

	wake_prepare(&puncher->thread_wake);
	if (ring_count(puncher->asked) == 0 &&
		!atomic_load_explicit(&puncher->must_end, memory_order_relaxed))
		(void)poll(&readable, 1, -1); /* @disk poll */
	wake_done(&puncher->thread_wake);
}

/* The turn at one file. */
struct at_file {
	int fd; /* -1: at none */
	uint64_t pages;
};

static struct turn *turn_at(int fd)
{
	return &turns[(unsigned int)fd % TURNS];
}

static void leave_file(struct at_file *at)
{
	if (at->fd >= 0)
		ASSERT(pthread_mutex_unlock(&turn_at(at->fd)->now) == 0);
	*at = (struct at_file){.fd = -1};
}

static void go_to_file(struct at_file *at, int fd)
{
	struct turn *turn = turn_at(fd);

	if (at->fd == fd && at->pages < TURN_PAGES)
		return;
	leave_file(at);
	ASSERT(pthread_mutex_lock(&turn->next) == 0);
	ASSERT(pthread_mutex_lock(&turn->now) == 0);
	ASSERT(pthread_mutex_unlock(&turn->next) == 0);
	at->fd = fd;
}

static void *run_thread(void *argument)
{
	struct puncher *puncher = argument;
	struct at_file at = {.fd = -1};
	uint64_t pages = 0;

	(void)pthread_setname_np(pthread_self(), "puncher"); /* @unfiltered prctl */
	slice_shorten();
	/* Without it, for want of memory, guests are served all the same. */
	(void)filter_install(FILTER_DISK);
	for (;;) {
		struct punch *punch = ring_pop_mpmc(puncher->asked);

		if (punch) {
			const uint64_t punch_pages = punch->size_bytes / PAGE_BYTES + CALL_PAGES;

			go_to_file(&at, punch->fd);
			at.pages += punch_pages;
			punch->result = run(punch);
			/* There are as many places as punches. */
			if (!ring_push_mpmc(puncher->done, punch))
				UNREACHABLE();
			if (ring_count(puncher->asked) == 0)
				wake_notify(&puncher->owner_wake);
			pages += punch_pages;
			if (pages >= YIELD_PAGES) {
				pages = 0;
				(void)sched_yield(); /* @disk sched_yield */
			}
			continue;
		}
		leave_file(&at);
		if (atomic_load_explicit(&puncher->must_end, memory_order_acquire))
			return NULL;
		wait_for_work(puncher);
	}
}

static int start_thread(struct puncher *puncher)
{
	sigset_t all;
	sigset_t old;
	int error;

	/* Signals are the daemon's, not this thread's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	/* @unfiltered clone3 */
	error = pthread_create(&puncher->thread, NULL, run_thread, puncher);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	puncher->has_thread = error == 0;
	return -error;
}

static int init(struct puncher *puncher, uint32_t capacity)
{
	int error;

	puncher->capacity = capacity;
	puncher->punch = calloc(capacity, sizeof(*puncher->punch));
	puncher->idle = calloc(capacity, sizeof(struct punch *));
	if (!puncher->punch || !puncher->idle)
		return -ENOMEM;
	for (uint32_t i = 0; i < capacity; i++)
		puncher->idle[puncher->idle_count++] = &puncher->punch[i];
	error = ring_new(capacity, &puncher->asked);
	if (!error)
		error = ring_new(capacity, &puncher->done);
	if (!error)
		error = wake_init(&puncher->owner_wake);
	if (!error)
		error = wake_init(&puncher->thread_wake);
	return error ? error : start_thread(puncher);
}

int puncher_open(uint32_t capacity, struct puncher **ret_puncher)
{
	struct puncher *puncher = aligned_alloc(CACHE_LINE, sizeof(*puncher));
	int error;

	ASSERT(is_power_of_two(capacity));
	if (!puncher)
		return -ENOMEM;
	*puncher = (struct puncher){
		.owner_wake = {.eventfd = -1},
		.thread_wake = {.eventfd = -1},
	};
	error = init(puncher, capacity);
	if (error) {
		puncher_close(puncher);
		return error;
	}
	*ret_puncher = puncher;
	return 0;
}

void puncher_close(struct puncher *puncher)
{
	if (!puncher)
		return;
	if (puncher->has_thread) {
		atomic_store_explicit(&puncher->must_end, true, memory_order_release);
		wake_notify(&puncher->thread_wake);
		(void)pthread_join(puncher->thread, NULL);
	}
	wake_destroy(&puncher->owner_wake);
	wake_destroy(&puncher->thread_wake);
	ring_free(puncher->asked);
	ring_free(puncher->done);
	free(puncher->idle);
	free(puncher->punch);
	free(puncher);
}

void puncher_push(
	struct puncher *puncher, uint64_t token, int fd, uint64_t offset, uint64_t size_bytes)
{
	struct punch *punch;

	ASSERT(puncher->idle_count > 0);
	punch = puncher->idle[--puncher->idle_count];
	*punch = (struct punch){
		.token = token, .fd = fd, .offset = offset, .size_bytes = size_bytes};
	if (!ring_push_mpmc(puncher->asked, punch))
		UNREACHABLE();
	puncher->is_pushed = true;
}

void puncher_kick(struct puncher *puncher)
{
	if (!puncher->is_pushed)
		return;
	puncher->is_pushed = false;
	wake_notify(&puncher->thread_wake);
}

bool puncher_pop(struct puncher *puncher, struct punched *ret_punched)
{
	struct punch *punch = ring_pop_mpmc(puncher->done);

	if (!punch)
		return false;
	*ret_punched = (struct punched){.token = punch->token, .result = punch->result};
	ASSERT(puncher->idle_count < puncher->capacity);
	puncher->idle[puncher->idle_count++] = punch;
	return true;
}

bool puncher_prepare_sleep(struct puncher *puncher)
{
	wake_prepare(&puncher->owner_wake);
	return ring_count(puncher->done) > 0;
}

void puncher_awake(struct puncher *puncher)
{
	wake_leave(&puncher->owner_wake);
}

int puncher_eventfd(const struct puncher *puncher)
{
	return puncher->owner_wake.eventfd;
}

void puncher_drain(struct puncher *puncher)
{
	wake_drain(&puncher->owner_wake);
}
