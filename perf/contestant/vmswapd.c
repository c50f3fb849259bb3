/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subject: vmswapd as users run it, with the client attached by its pid. The dwell is 0,
 * as the client does no direct I/O and a benchmark is not to wait.
 */
#include "perf/contestant/contestant.h"
#include "perf/contestant/daemon.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define VM "client"
/* Each shard has its own part of the store, and the stripes of a small VM are uneven. */
#define STORE_SPARE_BYTES (256 * MIB)

static int fail(struct contestant *self, int error)
{
	return contestant_fail(self, error, "%s", daemon_why(self->state));
}

static int open_daemon(struct contestant *self)
{
	const uint64_t size_bytes = self->setup.client.pages * PAGE_BYTES;
	struct daemon *daemon = NULL;
	int error = daemon_start(
		&(struct daemon_config){
			.path = self->setup.daemon,
			.directory = self->setup.directory,
			.shards = MAX(self->setup.shards, 1u),
			.cpus = self->setup.cpus,
			.cpu_count = self->setup.cpu_count,
			.is_encrypted = self->setup.is_encrypted,
			.limit_bytes = size_bytes + size_bytes / 4 + STORE_SPARE_BYTES,
		},
		&daemon);

	self->state = daemon;
	if (!daemon)
		return contestant_fail(self, error, "no memory");
	if (error == 0)
		error = daemon_attach(daemon, client_pid(self->client), VM, size_bytes);
	return error < 0 ? fail(self, error) : 0;
}

static int run(struct contestant *self, const char *method)
{
	struct daemon_job job;
	const int error = daemon_run(self->state, method, VM, &job);

	if (error < 0)
		return fail(self, error);
	self->moved_bytes = job.pages * PAGE_BYTES;
	self->moved_ns = job.elapsed_ns;
	self->freeze_ns = 0;
	return 0;
}

static int stage(struct contestant *self)
{
	return run(self, "vm.enable");
}

static int trim(struct contestant *self)
{
	return run(self, "vm.trim");
}

static int evict(struct contestant *self)
{
	return run(self, "vm.swap_out");
}

static int restore(struct contestant *self)
{
	return run(self, "vm.disable");
}

static uint64_t cpu_ns(struct contestant *self)
{
	return daemon_shards_cpu_ns(self->state);
}

static void close_daemon(struct contestant *self)
{
	daemon_stop(self->state);
	self->state = NULL;
}

const struct contestant_operations contestant_vmswapd = {
	.name = "vmswapd",
	.open = open_daemon,
	.stage = stage,
	.trim = trim,
	.evict = evict,
	.restore = restore,
	.cpu_ns = cpu_ns,
	.close = close_daemon,
};
