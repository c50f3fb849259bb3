/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/cleaner.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "engine/engine.h"
#include "engine/successor.h"
#include "io/filter.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/log.h"

#define STEP_BYTES (64 * MIB)
#define STEP_S	   5
/* While writes of a dead worker may be under way their end is looked for so often and so long. */
#define SETTLE_LOOK_MS 100
#define SETTLE_LOOKS   600

/* The lock is held for changes of the two flags only, except by release(): one caller at a time. */
struct cleaner {
	/* constant after cleaner_new() */
	struct engine *engine;
	pthread_t thread;
	pthread_mutex_t release_lock;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under lock */
	bool is_slow;
	bool is_ending;
};

static uint64_t release(struct cleaner *cleaner, uint64_t max_bytes)
{
	uint64_t released;

	(void)pthread_mutex_lock(&cleaner->release_lock);
	released = engine_release_space(cleaner->engine, max_bytes);
	(void)pthread_mutex_unlock(&cleaner->release_lock);
	return released;
}

/* Sleeps until a gentle step is due; false: the thread is to end. Called and returns with the lock
 * held. */
static bool wait_for_step(struct cleaner *cleaner)
{
	struct timespec due;

	while (!cleaner->is_slow && !cleaner->is_ending)
		(void)pthread_cond_wait(&cleaner->changed, &cleaner->lock);
	(void)clock_gettime(CLOCK_MONOTONIC, &due);
	due.tv_sec += STEP_S;
	while (cleaner->is_slow && !cleaner->is_ending) {
		if (pthread_cond_timedwait(&cleaner->changed, &cleaner->lock, &due) == ETIMEDOUT)
			break;
	}
	return !cleaner->is_ending;
}

/* False: the thread is to end. */
static bool sleep_a_look(struct cleaner *cleaner)
{
	struct timespec due;
	bool is_ending;

	(void)clock_gettime(CLOCK_MONOTONIC, &due);
	due.tv_nsec += SETTLE_LOOK_MS * (long)NS_PER_MS;
	due.tv_sec += due.tv_nsec / (long)NS_PER_S;
	due.tv_nsec %= (long)NS_PER_S;
	(void)pthread_mutex_lock(&cleaner->lock);
	if (!cleaner->is_ending)
		(void)pthread_cond_timedwait(&cleaner->changed, &cleaner->lock, &due);
	is_ending = cleaner->is_ending;
	(void)pthread_mutex_unlock(&cleaner->lock);
	return !is_ending;
}

/*
 * Once: the slots that a predecessor was writing come back when the disk is done with them. Waiting
 * for that keeps everybody from reading the file, so it is put off until there is little to wait
 * for, or the disk is so busy with others that there never will be.
 */
static void settle(struct cleaner *cleaner)
{
	uint32_t count;

	for (int i = 0; i < SETTLE_LOOKS && !engine_may_settle(cleaner->engine); i++)
		if (!sleep_a_look(cleaner))
			return;
	count = engine_settle(cleaner->engine);
	if (count > 0)
		log_warning(
			"%u slots stay out of use: the store cannot tell when the writes of the "
			"worker that died have ended",
			count);
}

static void *cleaner_main(void *argument)
{
	struct cleaner *cleaner = argument;

	/* It starts before the control thread has one to inherit; without it, it works as well. */
	(void)filter_install(FILTER_CONTROL);
	settle(cleaner);
	(void)pthread_mutex_lock(&cleaner->lock);
	while (wait_for_step(cleaner)) {
		bool is_done;

		if (!cleaner->is_slow)
			continue;
		(void)pthread_mutex_unlock(&cleaner->lock);
		is_done = release(cleaner, STEP_BYTES) < STEP_BYTES;
		(void)pthread_mutex_lock(&cleaner->lock);
		if (is_done)
			cleaner->is_slow = false;
	}
	(void)pthread_mutex_unlock(&cleaner->lock);
	return NULL;
}

static void set_slow(struct cleaner *cleaner, bool is_slow)
{
	(void)pthread_mutex_lock(&cleaner->lock);
	cleaner->is_slow = is_slow;
	(void)pthread_cond_signal(&cleaner->changed);
	(void)pthread_mutex_unlock(&cleaner->lock);
}

int cleaner_new(struct engine *engine, struct cleaner **ret_cleaner)
{
	struct cleaner *cleaner = calloc(1, sizeof(*cleaner));
	pthread_condattr_t attributes;
	int rc;

	if (!cleaner)
		return -ENOMEM;
	cleaner->engine = engine;
	(void)pthread_mutex_init(&cleaner->release_lock, NULL);
	(void)pthread_mutex_init(&cleaner->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&cleaner->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	rc = pthread_create(&cleaner->thread, NULL, cleaner_main, cleaner); /* @unfiltered clone3 */
	if (rc != 0) {
		free(cleaner);
		return -rc;
	}
	*ret_cleaner = cleaner;
	return 0;
}

void cleaner_free(struct cleaner *cleaner)
{
	if (!cleaner)
		return;
	(void)pthread_mutex_lock(&cleaner->lock);
	cleaner->is_ending = true;
	(void)pthread_cond_signal(&cleaner->changed);
	(void)pthread_mutex_unlock(&cleaner->lock);
	(void)pthread_join(cleaner->thread, NULL);
	(void)pthread_cond_destroy(&cleaner->changed);
	(void)pthread_mutex_destroy(&cleaner->lock);
	(void)pthread_mutex_destroy(&cleaner->release_lock);
	free(cleaner);
}

void cleaner_run(struct cleaner *cleaner)
{
	set_slow(cleaner, false);
	(void)release(cleaner, UINT64_MAX);
}

void cleaner_finish(struct cleaner *cleaner)
{
	bool is_slow;

	(void)pthread_mutex_lock(&cleaner->lock);
	is_slow = cleaner->is_slow;
	(void)pthread_mutex_unlock(&cleaner->lock);
	if (is_slow)
		cleaner_run(cleaner);
}

void cleaner_begin_slow(struct cleaner *cleaner)
{
	set_slow(cleaner, true);
}
