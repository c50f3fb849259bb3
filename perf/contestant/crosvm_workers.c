/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/crosvm_workers.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "perf/contestant/contestant.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

struct work {
	uint8_t *staging;
	struct crosvm_batch batch;
};

struct crosvm_workers {
	uint8_t *guest;
	uint32_t threads; /* and places in the queue */
	pthread_mutex_t lock;
	pthread_cond_t has_work;
	pthread_cond_t has_room;
	pthread_cond_t is_done;
	uint32_t first;
	uint32_t queued;
	uint32_t busy;
	int error;
	struct work queue[CONTESTANT_CPUS_MAX];
};

static int move(uint8_t *guest, const struct work *work)
{
	const struct crosvm_batch *batch = &work->batch;
	const uint64_t start = batch->run[0].offset;
	const uint64_t end =
		batch->run[batch->count - 1].offset + batch->run[batch->count - 1].size_bytes;

	for (uint32_t i = 0; i < batch->count; i++)
		memcpy(work->staging + batch->run[i].offset, guest + batch->run[i].offset,
			batch->run[i].size_bytes);
	return errno_of(madvise(guest + start, end - start, MADV_REMOVE));
}

static void take(struct crosvm_workers *workers, struct work *ret_work)
{
	while (workers->queued == 0)
		(void)pthread_cond_wait(&workers->has_work, &workers->lock);
	*ret_work = workers->queue[workers->first];
	workers->first = (workers->first + 1) % workers->threads;
	workers->queued--;
	workers->busy++;
	(void)pthread_cond_signal(&workers->has_room);
}

static void *worker_main(void *argument)
{
	struct crosvm_workers *workers = argument;
	struct work work;

	(void)pthread_mutex_lock(&workers->lock);
	for (;;) {
		int error;

		take(workers, &work);
		(void)pthread_mutex_unlock(&workers->lock);
		error = move(workers->guest, &work);
		(void)pthread_mutex_lock(&workers->lock);
		if (workers->error == 0)
			workers->error = error;
		workers->busy--;
		if (workers->busy + workers->queued == 0)
			(void)pthread_cond_signal(&workers->is_done);
	}
	return NULL;
}

struct crosvm_workers *crosvm_workers_new(uint8_t *guest)
{
	struct crosvm_workers *workers = calloc(1, sizeof(*workers));
	const uint32_t cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t thread;

	if (!workers)
		return NULL;
	workers->guest = guest;
	workers->threads = MIN(cpus, CONTESTANT_CPUS_MAX);
	(void)pthread_mutex_init(&workers->lock, NULL);
	(void)pthread_cond_init(&workers->has_work, NULL);
	(void)pthread_cond_init(&workers->has_room, NULL);
	(void)pthread_cond_init(&workers->is_done, NULL);
	for (uint32_t i = 0; i < workers->threads; i++)
		if (pthread_create(&thread, NULL, worker_main, workers) != 0)
			return NULL;
	return workers;
}

void crosvm_workers_push(
	struct crosvm_workers *workers, uint8_t *staging, const struct crosvm_batch *batch)
{
	struct work *work;

	ASSERT(batch->count > 0);
	ASSERT(batch->pages <= CHUNK_PAGES);
	(void)pthread_mutex_lock(&workers->lock);
	while (workers->queued == workers->threads)
		(void)pthread_cond_wait(&workers->has_room, &workers->lock);
	work = &workers->queue[(workers->first + workers->queued) % workers->threads];
	work->staging = staging;
	work->batch.count = batch->count;
	work->batch.pages = batch->pages;
	memcpy(work->batch.run, batch->run, batch->count * sizeof(batch->run[0]));
	workers->queued++;
	(void)pthread_cond_signal(&workers->has_work);
	(void)pthread_mutex_unlock(&workers->lock);
}

int crosvm_workers_wait(struct crosvm_workers *workers)
{
	int error;

	(void)pthread_mutex_lock(&workers->lock);
	while (workers->busy + workers->queued > 0)
		(void)pthread_cond_wait(&workers->is_done, &workers->lock);
	error = workers->error;
	workers->error = 0;
	(void)pthread_mutex_unlock(&workers->lock);
	return error;
}
