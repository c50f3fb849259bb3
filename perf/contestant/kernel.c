/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor below every handler: the kernel serves the touches itself.
 *
 *   "minor"  pages are in the page cache of shared memory, not mapped. A reading touch maps its
 *            neighbours as well (fault-around), a writing one does not.
 *   "zero"   there are no pages, a touch gets a zeroed one; the client's must be zero (100 percent)
 */
#include <string.h>
#include <sys/mman.h>

#include "perf/contestant/contestant.h"
#include "queue/base/err.h"

static int open_kernel(struct contestant *self)
{
	const struct client_config *client = &self->setup.client;
	const char *option = self->setup.option ? self->setup.option : "minor";

	if (strcmp(option, "minor") == 0 && client->is_anonymous)
		return contestant_fail(
			self, -EINVAL, "private memory has no minor faults: it must be shared");
	if (strcmp(option, "zero") == 0 && client->zero_percent != 100)
		return contestant_fail(self, -EINVAL,
			"zero-fill gives zero pages, so all of the client's must be zero");
	if (strcmp(option, "minor") != 0 && strcmp(option, "zero") != 0)
		return contestant_fail(
			self, -EINVAL, "the kernel's floors are \"minor\" and \"zero\"");
	/* One fault fills one page, wherever the host has huge pages always. */
	if (client_advise(self->client, MADV_NOHUGEPAGE) == -EPIPE)
		return contestant_fail(self, -EPIPE, "the client died");
	return 0;
}

static int drop_mapping(struct contestant *self)
{
	/* Before Linux 5.18: only memory that is not locked. */
	const int error = client_advise(self->client, MADV_DONTNEED_LOCKED);

	return error == -EINVAL ? client_advise(self->client, MADV_DONTNEED) : error;
}

static int stage(struct contestant *self)
{
	const char *option = self->setup.option ? self->setup.option : "minor";
	int error;

	if (strcmp(option, "minor") == 0)
		error = drop_mapping(self);
	else
		error = client_advise(self->client,
			self->setup.client.is_anonymous ? MADV_DONTNEED : MADV_REMOVE);
	if (error < 0)
		return contestant_fail(self, error, "madvise: %s", strerror(-error));
	self->freeze_ns = 0;
	return 0;
}

/* The client's own threads serve themselves. */
static uint64_t cpu_ns(struct contestant *self)
{
	(void)self;
	return 0;
}

static void close_kernel(struct contestant *self)
{
	(void)self;
}

const struct contestant_operations contestant_kernel = {
	.name = "kernel",
	.open = open_kernel,
	.stage = stage,
	.cpu_ns = cpu_ns,
	.close = close_kernel,
};
