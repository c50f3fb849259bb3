/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   owner ── asked ──► threads of the lane ── done ──► owner
 *             + semaphore: one post an item     + wake: the epoll knows its eventfd
 *
 * The owner pushes an item before it posts, so a thread that got the semaphore finds an item, or
 * none is left and the threads are to end. Polls are edge triggered entries of the epoll; what
 * comes of polls without the kernel (a refused one, a cancelled one) waits in a list of the
 * owner's.
 *
 * Every result that waits anywhere belongs to an operation that holds a place, so that no queue
 * here needs more room than there are places.
 */
#include "io/blocking.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

#include "io/filter.h"
#include "io/uring.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/ring.h"
#include "queue/wake.h"

/* Threads a lane. More do not make a disk faster that a few keep busy. */
#define LANE_THREADS 4u
/* Events taken from the epoll at once. */
#define READY_MAX 32
/* How long the end waits for calls that are under way: longer than a disk's own time-outs. */
#define CLOSE_S 60
/* The epoll's word for the eventfd of finished items; others are indices of polls. */
#define EVENT_DONE UINT64_MAX

enum item_kind {
	ITEM_READ,
	ITEM_WRITE,
	ITEM_DISCARD,
};

struct item {
	enum item_kind kind;
	int fd;
	uint64_t token;
	uint64_t offset;
	uint64_t size_bytes;	    /* discard */
	struct iovec buffer;	    /* read */
	const struct iovec *vector; /* write: the caller's */
	uint32_t vector_count;
	int32_t result;
};

struct poll_entry {
	bool is_used;
	int fd;
	uint64_t token;
};

struct lane {
	/* constant after blocking_open() */
	struct blocking *blocking;
	struct ring *asked; /* owner to threads */
	pthread_t thread[LANE_THREADS];
	uint32_t thread_count;
	/* owner only */
	uint32_t unposted; /* pushed since the last submit */
	/* any thread */
	sem_t items;
};

enum lane_index {
	LANE_READ,
	LANE_WRITE,
	LANES,
};

struct blocking {
	/* constant after blocking_open() */
	uint32_t places;
	int epoll;
	struct ring *done; /* threads to owner */
	struct lane lane[LANES];

	/* owner only */
	struct item *item;
	struct item **idle; /* stack */
	uint32_t idle_count;
	struct poll_entry *polls;  /* as many as places */
	struct uring_done *result; /* FIFO of as many: of polls, without the kernel */
	uint32_t result_first;
	uint32_t result_count;
	struct epoll_event ready[READY_MAX]; /* taken from the epoll, not reported */
	uint32_t ready_first;
	uint32_t ready_count;

	/* any thread, atomics */
	struct wake owner_wake;
	_Atomic bool must_end;
	sem_t ended; /* a post a thread */
};

static ssize_t call(const struct item *item)
{
	switch (item->kind) {
	/* @disk preadv */
	case ITEM_READ: return preadv(item->fd, &item->buffer, 1, (off_t)item->offset);
	case ITEM_WRITE:
		return pwritev(/* @disk pwritev */
			item->fd, item->vector, (int)item->vector_count, (off_t)item->offset);
	case ITEM_DISCARD:
		/* @disk fallocate */
		return fallocate(item->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)item->offset, (off_t)item->size_bytes);
	}
	UNREACHABLE();
}

/* Signals are blocked here; what still interrupts (a debugger, a freezer) does so now and then. */
static int32_t run_item(const struct item *item)
{
	ssize_t result;

	do {
		result = errno_of(call(item));
	} while (result == -EINTR);
	return (int32_t)result;
}

static void *run_lane(void *argument)
{
	struct lane *lane = argument;
	struct blocking *blocking = lane->blocking;

	/* Without it, for want of memory, guests are served all the same. */
	(void)filter_install(FILTER_DISK);
	for (;;) {
		struct item *item;

		while (sem_wait(&lane->items) < 0)
			ASSERT(errno == EINTR);
		item = ring_pop_mpmc(lane->asked);
		if (!item)
			break;
		if (atomic_load_explicit(&blocking->must_end, memory_order_relaxed))
			item->result = -ECANCELED;
		else
			item->result = run_item(item);
		/* There are as many places as items, and their one taker goes in order. */
		if (!ring_push_mpmc(blocking->done, item))
			UNREACHABLE();
		wake_notify(&blocking->owner_wake);
	}
	ASSERT(atomic_load_explicit(&blocking->must_end, memory_order_relaxed));
	(void)sem_post(&blocking->ended);
	return NULL;
}

static int start_threads(struct lane *lane, const char *name)
{
	sigset_t all;
	sigset_t old;
	int error = 0;

	/* Signals are the daemon's, not these threads'. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	while (!error && lane->thread_count < LANE_THREADS) {
		pthread_t *thread = &lane->thread[lane->thread_count];

		error = pthread_create(thread, NULL, run_lane, lane); /* @unfiltered clone3 */
		if (error)
			break;
		(void)pthread_setname_np(*thread, name); /* @unfiltered openat */
		lane->thread_count++;
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -error;
}

static int watch_done(struct blocking *blocking)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = EVENT_DONE};

	blocking->epoll = errno_of(epoll_create1(EPOLL_CLOEXEC)); /* @unfiltered epoll_create1 */
	if (blocking->epoll < 0)
		return blocking->epoll;
	return errno_of(
		/* @unfiltered epoll_ctl */
		epoll_ctl(blocking->epoll, EPOLL_CTL_ADD, blocking->owner_wake.eventfd, &event));
}

static int allocate(struct blocking *blocking)
{
	blocking->item = calloc(blocking->places, sizeof(*blocking->item));
	blocking->idle = calloc(blocking->places, sizeof(struct item *));
	blocking->polls = calloc(blocking->places, sizeof(*blocking->polls));
	blocking->result = calloc(blocking->places, sizeof(*blocking->result));
	if (!blocking->item || !blocking->idle || !blocking->polls || !blocking->result)
		return -ENOMEM;
	for (uint32_t i = 0; i < blocking->places; i++)
		blocking->idle[blocking->idle_count++] = &blocking->item[i];
	return 0;
}

static int init(struct blocking *blocking)
{
	static const char *const names[LANES] = {"io-read", "io-write"};
	int error = allocate(blocking);

	if (!error)
		error = ring_new(blocking->places, &blocking->done);
	if (!error)
		error = wake_init(&blocking->owner_wake);
	if (!error)
		error = watch_done(blocking);
	for (uint32_t i = 0; !error && i < LANES; i++)
		error = ring_new(blocking->places, &blocking->lane[i].asked);
	for (uint32_t i = 0; !error && i < LANES; i++)
		error = start_threads(&blocking->lane[i], names[i]);
	return error;
}

int blocking_open(uint32_t places, struct blocking **ret_blocking)
{
	struct blocking *blocking = aligned_alloc(CACHE_LINE, sizeof(*blocking));
	int error;

	ASSERT(is_power_of_two(places));
	if (!blocking)
		return -ENOMEM;
	*blocking = (struct blocking){
		.places = places,
		.epoll = -1,
		.owner_wake = {.eventfd = -1},
	};
	(void)sem_init(&blocking->ended, 0, 0);
	for (uint32_t i = 0; i < LANES; i++) {
		blocking->lane[i].blocking = blocking;
		(void)sem_init(&blocking->lane[i].items, 0, 0);
	}
	error = init(blocking);
	if (error) {
		blocking_close(blocking);
		return error;
	}
	*ret_blocking = blocking;
	return 0;
}

/* False when a thread hangs. */
static bool end_threads(struct blocking *blocking)
{
	struct timespec deadline;
	uint32_t running = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += CLOSE_S;
	blocking_submit(blocking);
	atomic_store_explicit(&blocking->must_end, true, memory_order_relaxed);
	for (uint32_t i = 0; i < LANES; i++) {
		/* One more post a thread than there are items: each thread meets an empty lane. */
		for (uint32_t j = 0; j < blocking->lane[i].thread_count; j++)
			(void)sem_post(&blocking->lane[i].items);
		running += blocking->lane[i].thread_count;
	}
	while (running > 0) {
		if (sem_clockwait(&blocking->ended, CLOCK_MONOTONIC, &deadline) == 0)
			running--;
		else if (errno != EINTR)
			return false;
	}
	return true;
}

void blocking_close(struct blocking *blocking)
{
	bool has_ended;

	if (!blocking)
		return;
	has_ended = end_threads(blocking);
	for (uint32_t i = 0; i < LANES; i++) {
		for (uint32_t j = 0; j < blocking->lane[i].thread_count; j++)
			(void)(has_ended ? pthread_join(blocking->lane[i].thread[j], NULL)
					 : pthread_detach(blocking->lane[i].thread[j]));
	}
	if (!has_ended)
		return;
	for (uint32_t i = 0; i < LANES; i++) {
		ring_free(blocking->lane[i].asked);
		(void)sem_destroy(&blocking->lane[i].items);
	}
	(void)sem_destroy(&blocking->ended);
	close_fd(blocking->epoll); /* @control close */
	wake_destroy(&blocking->owner_wake);
	ring_free(blocking->done);
	free(blocking->result);
	free(blocking->polls);
	free(blocking->idle);
	free(blocking->item);
	free(blocking);
}

static void push(struct blocking *blocking, enum lane_index index, const struct item *from)
{
	struct lane *lane = &blocking->lane[index];
	struct item *item;

	ASSERT(blocking->idle_count > 0);
	item = blocking->idle[--blocking->idle_count];
	*item = *from;
	/* The ring has room. Its next cell may be one that a thread has claimed a whole round ago
	 * and was preempted on; that thread needs no more than to run. */
	while (!ring_push_mpmc(lane->asked, item))
		(void)sched_yield(); /* @shard sched_yield */
	lane->unposted++;
}

void blocking_read(struct blocking *blocking, uint64_t token, int fd, const struct iovec *buffer,
	uint64_t offset)
{
	const struct item item = {
		.kind = ITEM_READ,
		.fd = fd,
		.token = token,
		.offset = offset,
		.buffer = *buffer,
	};

	push(blocking, LANE_READ, &item);
}

void blocking_writev(struct blocking *blocking, uint64_t token, int fd, const struct iovec *vector,
	uint32_t count, uint64_t offset)
{
	const struct item item = {
		.kind = ITEM_WRITE,
		.fd = fd,
		.token = token,
		.offset = offset,
		.vector = vector,
		.vector_count = count,
	};

	push(blocking, LANE_WRITE, &item);
}

void blocking_discard(
	struct blocking *blocking, uint64_t token, int fd, uint64_t offset, uint64_t size_bytes)
{
	const struct item item = {
		.kind = ITEM_DISCARD,
		.fd = fd,
		.token = token,
		.offset = offset,
		.size_bytes = size_bytes,
	};

	push(blocking, LANE_WRITE, &item);
}

static void add_result(struct blocking *blocking, uint64_t token, int32_t result)
{
	const uint32_t place =
		(blocking->result_first + blocking->result_count) & (blocking->places - 1);

	ASSERT(blocking->result_count < blocking->places);
	blocking->result[place] = (struct uring_done){.token = token, .result = result};
	blocking->result_count++;
}

void blocking_poll(struct blocking *blocking, uint64_t token, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	uint32_t index = 0;
	int error;

	while (index < blocking->places && blocking->polls[index].is_used)
		index++;
	ASSERT(index < blocking->places);
	event.data.u64 = index;
	/* @shard epoll_ctl */
	error = errno_of(epoll_ctl(blocking->epoll, EPOLL_CTL_ADD, fd, &event));
	if (error)
		add_result(blocking, token, error);
	else
		blocking->polls[index] = (struct poll_entry){true, fd, token};
}

/* The descriptor may be closed already, and then the epoll has forgotten it by itself. */
static void end_poll(struct blocking *blocking, uint32_t index)
{
	/* @shard epoll_ctl */
	(void)epoll_ctl(blocking->epoll, EPOLL_CTL_DEL, blocking->polls[index].fd, NULL);
	blocking->polls[index].is_used = false;
	for (uint32_t i = blocking->ready_first; i < blocking->ready_count; i++) {
		if (blocking->ready[i].data.u64 == index)
			blocking->ready[i].data.u64 = EVENT_DONE;
	}
}

void blocking_poll_cancel(struct blocking *blocking, uint64_t token, uint64_t target)
{
	for (uint32_t i = 0; i < blocking->places; i++) {
		if (!blocking->polls[i].is_used || blocking->polls[i].token != target)
			continue;
		end_poll(blocking, i);
		add_result(blocking, target, -ECANCELED);
		add_result(blocking, token, 0);
		return;
	}
	add_result(blocking, token, -ENOENT);
}

void blocking_submit(struct blocking *blocking)
{
	for (uint32_t i = 0; i < LANES; i++) {
		struct lane *lane = &blocking->lane[i];

		for (; lane->unposted > 0; lane->unposted--)
			(void)sem_post(&lane->items);
	}
}

static bool has_results(const struct blocking *blocking)
{
	return blocking->result_count > 0 || blocking->ready_first < blocking->ready_count ||
	       ring_count(blocking->done) > 0;
}

/* The epoll is readable as long as something in it is to be reported, and is left as it is. */
static int sleep_on_epoll(const struct blocking *blocking, uint64_t timeout_us)
{
	struct pollfd readable = {.fd = blocking->epoll, .events = POLLIN};
	const struct timespec timeout = {
		.tv_sec = (time_t)MIN(timeout_us / (NS_PER_S / NS_PER_US), (uint64_t)INT32_MAX),
		.tv_nsec = (long)(timeout_us % (NS_PER_S / NS_PER_US) * NS_PER_US),
	};

	/* @shard ppoll */
	return errno_of(ppoll(&readable, 1, timeout_us == UINT64_MAX ? NULL : &timeout, NULL));
}

int blocking_wait(struct blocking *blocking, uint64_t timeout_us)
{
	int result = 0;

	blocking_submit(blocking);
	wake_prepare(&blocking->owner_wake);
	if (!has_results(blocking))
		result = sleep_on_epoll(blocking, timeout_us);
	wake_leave(&blocking->owner_wake);
	return MIN(result, 0);
}

static bool take_item(struct blocking *blocking, struct uring_done *ret_done)
{
	struct item *item = ring_pop_mpmc(blocking->done);

	if (!item)
		return false;
	*ret_done = (struct uring_done){.token = item->token, .result = item->result};
	ASSERT(blocking->idle_count < blocking->places);
	blocking->idle[blocking->idle_count++] = item;
	return true;
}

static bool take_result(struct blocking *blocking, struct uring_done *ret_done)
{
	if (blocking->result_count == 0)
		return false;
	*ret_done = blocking->result[blocking->result_first];
	blocking->result_first = (blocking->result_first + 1) & (blocking->places - 1);
	blocking->result_count--;
	return true;
}

static bool fetch_ready(struct blocking *blocking)
{
	/* @shard epoll_wait */
	const int count = epoll_wait(blocking->epoll, blocking->ready, READY_MAX, 0);

	blocking->ready_first = 0;
	blocking->ready_count = (uint32_t)MAX(count, 0);
	return count > 0;
}

/* A poll that has something to report. Ends: each entry of the epoll is reported once an edge. */
static bool take_ready(struct blocking *blocking, struct uring_done *ret_done)
{
	while (blocking->ready_first < blocking->ready_count || fetch_ready(blocking)) {
		const struct epoll_event *event = &blocking->ready[blocking->ready_first++];

		if (event->data.u64 == EVENT_DONE) {
			wake_drain(&blocking->owner_wake);
			if (take_item(blocking, ret_done))
				return true;
			continue;
		}
		ASSERT(event->data.u64 < blocking->places);
		ASSERT(blocking->polls[event->data.u64].is_used);
		*ret_done = (struct uring_done){
			.token = blocking->polls[event->data.u64].token,
			.result = (int32_t)event->events,
			.flags = URING_MORE,
		};
		return true;
	}
	return false;
}

bool blocking_take(struct blocking *blocking, struct uring_done *ret_done)
{
	return take_result(blocking, ret_done) || take_item(blocking, ret_done) ||
	       take_ready(blocking, ret_done);
}
