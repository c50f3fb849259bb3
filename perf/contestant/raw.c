/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floors of userfaultfd: handlers that keep no state and do nothing but resolve.
 *
 *   "continue"    one blocking read a fault, CONTINUE of the page
 *   "copy"        the same with COPY, from memory that the handler has mapped
 *   "batch"       poll, up to 64 messages a read, CONTINUE each
 *   "batch-copy"  the same with COPY
 *   "around"      as "continue", for the 16 pages around the fault
 */
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "perf/contestant/contestant.h"
#include "perf/contestant/handler.h"
#include "perf/contestant/resolve.h"
#include "perf/contestant/stash.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

#define BATCH_MAX    64
#define AROUND_BYTES (16 * PAGE_BYTES)

struct raw;

struct raw_kind {
	const char *option;
	const char *name;
	bool copies;   /* else it maps what is in the page cache */
	bool is_batch; /* non-blocking, many messages a read */
	int (*resolve)(const struct raw *raw, uint64_t address);
};

struct raw {
	const struct raw_kind *kind;
	struct handler handler;
	struct stash stash; /* of kinds that copy */
	/* What the handler works with. */
	int uffd;
	uint64_t address; /* of the client's memory */
	uint64_t size_bytes;
};

static int resolve_by_continue(const struct raw *raw, uint64_t address)
{
	const int64_t done = resolve_continue(raw->uffd, address, PAGE_BYTES);

	return done < 0 ? (int)done : 0;
}

static int resolve_by_copy(const struct raw *raw, uint64_t address)
{
	return resolve_copy(
		raw->uffd, address, raw->stash.memory + (address - raw->address), PAGE_BYTES, 0);
}

/*
 * One call, unless some of the pages are mapped already: a call stops before such a page, and the
 * next goes on behind it. The page of the fault may be one of these (another thread's fault had
 * it mapped), then nothing has woken its thread: EEXIST is told.
 */
static int resolve_around(const struct raw *raw, uint64_t address)
{
	const uint64_t offset = address - raw->address;
	const uint64_t start = offset - offset % AROUND_BYTES;
	const uint64_t end = MIN(start + AROUND_BYTES, raw->size_bytes);
	int result = 0;

	for (uint64_t at = start; at < end;) {
		const int64_t done = resolve_continue(raw->uffd, raw->address + at, end - at);

		if (done < 0 && done != -EEXIST)
			return (int)done;
		if (done < 0)
			result = -EEXIST;
		at += done < 0 ? PAGE_BYTES : (uint64_t)done;
	}
	return result;
}

static const struct raw_kind kinds[] = {
	{"continue", "raw-continue", false, false, resolve_by_continue},
	{"copy", "raw-copy", true, false, resolve_by_copy},
	{"batch", "raw-batch", false, true, resolve_by_continue},
	{"batch-copy", "raw-batch-copy", true, true, resolve_by_copy},
	{"around", "raw-around", false, false, resolve_around},
};

static const struct raw_kind *find_kind(const char *option)
{
	for (size_t i = 0; option && i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].option, option) == 0)
			return &kinds[i];
	return NULL;
}

const char *contestant_raw_name(const char *option)
{
	const struct raw_kind *kind = find_kind(option);

	return kind ? kind->name : NULL;
}

static void serve(
	const struct contestant *self, const struct raw *raw, const struct uffd_msg *fault)
{
	const uint64_t address = resolve_address(fault);
	const int error = raw->kind->resolve(raw, address);

	if (error == 0)
		return;
	/* Mapped already, or page tables are changing: the thread looks, or faults, again. */
	if (error != -EEXIST && error != -EAGAIN)
		handler_give_up(self, raw->kind->name, error);
	resolve_wake(raw->uffd, address, PAGE_BYTES);
}

static void serve_singly(const struct contestant *self, const struct raw *raw)
{
	struct uffd_msg fault;

	while (read(raw->uffd, &fault, sizeof(fault)) == sizeof(fault))
		serve(self, raw, &fault);
}

static void serve_batches(const struct contestant *self, const struct raw *raw)
{
	struct pollfd poller = {.fd = raw->uffd, .events = POLLIN};
	struct uffd_msg faults[BATCH_MAX];
	ssize_t got = 0;

	while (got >= 0 || errno == EAGAIN) {
		if (got < 0 && poll(&poller, 1, -1) < 0)
			break;
		got = read(raw->uffd, faults, sizeof(faults));
		for (size_t i = 0; got > 0 && i < (size_t)got / sizeof(faults[0]); i++)
			serve(self, raw, &faults[i]);
	}
}

static void handler_main(const struct contestant *self, int socket)
{
	const struct raw *raw = self->state;

	contestant_pin_handler(self);
	handler_ready(socket, raw->kind->copies ? stash_populate(&raw->stash) : 0);
	if (raw->kind->is_batch)
		serve_batches(self, raw);
	else
		serve_singly(self, raw);
	handler_give_up(self, "reading faults", -errno);
}

/* The handler's own descriptor is the only one left: another in the benchmark would not help. */
static int start_handler(struct contestant *self, struct raw *raw)
{
	const struct raw_kind *kind = raw->kind;
	int error = client_userfaultfd(self->client,
		kind->copies ? UFFD_FEATURE_MISSING_SHMEM : UFFD_FEATURE_MINOR_SHMEM,
		kind->copies ? UFFDIO_REGISTER_MODE_MISSING : UFFDIO_REGISTER_MODE_MINOR,
		!kind->is_batch, &raw->uffd);

	if (error < 0)
		return contestant_fail(self, error, "no userfaultfd: %s", strerror(-error));
	error = handler_start(self, handler_main, &raw->handler);
	(void)close(raw->uffd);
	return error;
}

static int open_raw(struct contestant *self)
{
	struct raw *raw;
	int error = 0;

	if (!find_kind(self->setup.option))
		return contestant_fail(self, -EINVAL, "there is no raw handler \"%s\"",
			self->setup.option ? self->setup.option : "");
	if (self->setup.client.is_anonymous)
		return contestant_fail(self, -EINVAL, "raw handlers serve shared memory");
	raw = calloc(1, sizeof(*raw));
	if (!raw)
		return contestant_fail(self, -ENOMEM, "no memory");
	self->state = raw;
	raw->kind = find_kind(self->setup.option);
	raw->address = client_address(self->client);
	raw->size_bytes = client_pages(self->client) * PAGE_BYTES;
	if (raw->kind->copies)
		error = stash_open(raw->size_bytes, &raw->stash);
	if (error < 0)
		return contestant_fail(self, error, "no memory for a copy of the client's");
	return start_handler(self, raw);
}

/* Before Linux 5.18: only memory that is not locked, which the client's is not. */
static int zap(struct contestant *self)
{
	const int error = client_advise(self->client, MADV_DONTNEED_LOCKED);

	return error == -EINVAL ? client_advise(self->client, MADV_DONTNEED) : error;
}

static int stage(struct contestant *self)
{
	const struct raw *raw = self->state;
	const uint64_t begin_ns = clock_ns();
	uint64_t bytes = raw->size_bytes;
	const int error = raw->kind->copies
				  ? stash_take(&raw->stash, client_memfd(self->client), &bytes)
				  : zap(self);

	if (error < 0)
		return contestant_fail(self, error, "staging: %s", strerror(-error));
	self->moved_bytes = bytes;
	self->moved_ns = clock_ns() - begin_ns;
	self->freeze_ns = 0;
	return 0;
}

static uint64_t cpu_ns(struct contestant *self)
{
	const struct raw *raw = self->state;

	return contestant_process_cpu_ns(raw->handler.pid);
}

static void close_raw(struct contestant *self)
{
	struct raw *raw = self->state;

	if (!raw)
		return;
	handler_stop(&raw->handler);
	stash_close(&raw->stash);
	free(raw);
	self->state = NULL;
}

const struct contestant_operations contestant_raw = {
	.name = "raw",
	.open = open_raw,
	.stage = stage,
	.cpu_ns = cpu_ns,
	.close = close_raw,
};
