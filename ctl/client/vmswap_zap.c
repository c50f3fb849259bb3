/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/client/vmswap_zap.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Linux 5.18; like MADV_DONTNEED, for locked memory as well. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* One madvise holds the address space's lock for so much at most: a few milliseconds. */
#define PIECE_BYTES (64 * MIB)

static_assert(sizeof(struct zap_request) == 24, "the daemon's layout");
static_assert(sizeof(struct zap_reply) == 16, "the daemon's layout");

struct zap_thread {
	/* constant after start */
	int channel;
	pthread_t thread;
	/* any thread */
	_Atomic bool is_connected;
	/* constant after start */
	uint32_t range_count;
	struct zap_range ranges[];
};

static bool is_ours(const struct zap_thread *zap, const struct zap_request *request)
{
	if (request->size_bytes == 0 || (request->address | request->size_bytes) % PAGE_BYTES != 0)
		return false;
	for (uint32_t i = 0; i < zap->range_count; i++) {
		const struct zap_range *range = &zap->ranges[i];

		if (request->address >= range->address &&
			request->size_bytes <= range->size_bytes &&
			request->address - range->address <=
				range->size_bytes - request->size_bytes)
			return true;
	}
	return false;
}

static int unmap_piece(uint64_t address, size_t size)
{
	void *start = (void *)(uintptr_t)address;

	if (madvise(start, size, MADV_DONTNEED_LOCKED) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	return errno_of(madvise(start, size, MADV_DONTNEED));
}

static int64_t unmap(const struct zap_thread *zap, const struct zap_request *request)
{
	if (!is_ours(zap, request))
		return -EINVAL;
	for (uint64_t done = 0; done < request->size_bytes; done += PIECE_BYTES) {
		const uint64_t size = MIN(PIECE_BYTES, request->size_bytes - done);
		const int rc = unmap_piece(request->address + done, size);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* False when the daemon has gone. */
static bool serve_one(struct zap_thread *zap)
{
	struct zap_request request;
	struct zap_reply reply;
	ssize_t size;

	do
		size = recv(zap->channel, &request, sizeof(request), MSG_TRUNC);
	while (size < 0 && errno == EINTR);
	if (size <= 0)
		return false;
	if (size == sizeof(request))
		reply = (struct zap_reply){.id = request.id, .result = unmap(zap, &request)};
	else
		reply = (struct zap_reply){.result = -EMSGSIZE};
	do
		size = send(zap->channel, &reply, sizeof(reply), MSG_NOSIGNAL);
	while (size < 0 && errno == EINTR);
	return size == sizeof(reply);
}

static void *run(void *argument)
{
	struct zap_thread *zap = argument;

	while (serve_one(zap))
		;
	atomic_store_explicit(&zap->is_connected, false, memory_order_release);
	return NULL;
}

/* The VMM's signals are not for our thread. */
static int start_without_signals(struct zap_thread *zap)
{
	sigset_t all, before;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&zap->thread, NULL, run, zap);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		(void)pthread_setname_np(zap->thread, "vmswap");
	return -rc;
}

int zap_thread_start(int channel, const struct zap_range *ranges, uint32_t range_count,
	struct zap_thread **ret_thread)
{
	struct zap_thread *zap = calloc(1, sizeof(*zap) + range_count * sizeof(struct zap_range));
	int rc;

	ASSERT(channel >= 0);
	ASSERT(range_count > 0);
	if (!zap)
		return -ENOMEM;
	zap->channel = channel;
	zap->is_connected = true;
	zap->range_count = range_count;
	memcpy(zap->ranges, ranges, range_count * sizeof(*ranges));
	rc = start_without_signals(zap);
	if (rc < 0) {
		free(zap);
		return rc;
	}
	*ret_thread = zap;
	return 0;
}

void zap_thread_stop(struct zap_thread *thread)
{
	if (!thread)
		return;
	(void)shutdown(thread->channel, SHUT_RDWR);
	(void)pthread_join(thread->thread, NULL);
	(void)close(thread->channel);
	free(thread);
}

bool zap_thread_is_connected(const struct zap_thread *thread)
{
	return atomic_load_explicit(&thread->is_connected, memory_order_acquire);
}
