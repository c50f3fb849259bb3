/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The peer of all: kernel swap, to a file on the disk under test (option "file", or none) or to
 * zram with lz4 ("zram"), as the host tunes it.
 *
 * The client's memory is in a memory cgroup of its own. MADV_PAGEOUT writes it out, but leaves what
 * went to a disk in the swap cache, where a touch would find it: so the cgroup is squeezed
 * afterwards, which only has to drop clean pages. That is not counted as time of the eviction.
 *
 * There is no stage: the kernel has none. A page that was swapped in and not written since is not
 * written again; client_dirty() before evict, for a rate that counts.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "perf/contestant/contestant.h"
#include "perf/contestant/keeper.h"
#include "perf/contestant/swap.h"
#include "perf/contestant/text_file.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* Squeezes end when so many pages, of a thousand, are left; when they do not get there, more than
 * the higher bound is a failure. */
#define SQUEEZE_ROUNDS	   10
#define RESIDENT_GOAL	   2
#define RESIDENT_PERMITTED 50

/* The client's threads and samples are in the cgroup as well, and may go to swap. */
#define EXTRA_BYTES (192 * MIB)

struct swap {
	struct keeper keeper;
	uint64_t resident_pages; /* after the last evict */
	uint32_t page_cluster;
};

static const char *option_of(const struct contestant *self)
{
	return self->setup.option ? self->setup.option : "file";
}

static int check_setup(struct contestant *self)
{
	const char *option = option_of(self);

	if (strcmp(option, "file") != 0 && strcmp(option, "zram") != 0)
		return contestant_fail(self, -EINVAL, "kernel swap knows \"file\" and \"zram\"");
	if (geteuid() != 0)
		return contestant_fail(self, -EPERM, "kernel swap needs root: swapon, cgroups");
	return 0;
}

static uint32_t read_page_cluster(void)
{
	char text[16] = "0";

	(void)text_file_read("/proc/sys/vm/page-cluster", text, sizeof(text));
	return (uint32_t)strtoul(text, NULL, 10);
}

/* Pages of before are charged to the benchmark's own cgroup. */
static int move_client(struct contestant *self, const struct cgroup *group)
{
	int error = cgroup_add(group, client_pid(self->client));

	if (error < 0)
		return contestant_fail(self, error, "the client does not enter %s: %s", group->path,
			strerror(-error));
	error = client_refill(self->client);
	return error < 0 ? contestant_fail(self, error, "the client's memory is not filled again")
			 : 0;
}

static int open_swap(struct contestant *self)
{
	const uint64_t memory_bytes = self->setup.client.pages * PAGE_BYTES;
	const uint64_t size_bytes = memory_bytes + memory_bytes / 8 + EXTRA_BYTES;
	const enum swap_area_kind kind =
		strcmp(option_of(self), "zram") == 0 ? SWAP_AREA_ZRAM : SWAP_AREA_FILE;
	struct swap *swap = calloc(1, sizeof(*swap));
	int error;

	if (!swap)
		return contestant_fail(self, -ENOMEM, "no memory");
	self->state = swap;
	swap->keeper.socket = -1;
	swap->page_cluster = read_page_cluster();
	error = check_setup(self);
	if (error == 0)
		error = keeper_start(self, kind, divide_up(size_bytes, CHUNK_BYTES) * CHUNK_BYTES,
			&swap->keeper);
	return error < 0 ? error : move_client(self, &swap->keeper.cgroup);
}

static int count_resident(struct contestant *self, uint64_t *ret_pages)
{
	const int error = client_resident(self->client, ret_pages);

	return error < 0 ? contestant_fail(self, error, "mincore: %s", strerror(-error)) : 0;
}

/* Each round waits for the writes of the pages that it drops. */
static int drop_cache(struct contestant *self, struct swap *swap)
{
	const uint64_t pages = client_pages(self->client);

	for (int round = 0; round < SQUEEZE_ROUNDS; round++) {
		int error = cgroup_squeeze(&swap->keeper.cgroup);

		if (error < 0)
			return contestant_fail(self, error, "the limit of %s: %s",
				swap->keeper.cgroup.path, strerror(-error));
		error = count_resident(self, &swap->resident_pages);
		if (error < 0)
			return error;
		if (swap->resident_pages * 1000 <= pages * RESIDENT_GOAL)
			return 0;
	}
	if (swap->resident_pages * 1000 <= pages * RESIDENT_PERMITTED)
		return 0;
	return contestant_fail(self, -EBUSY, "%llu of %llu pages do not leave RAM",
		(unsigned long long)swap->resident_pages, (unsigned long long)pages);
}

static int evict(struct contestant *self)
{
	struct swap *swap = self->state;
	uint64_t before;
	uint64_t begin_ns;
	int error = count_resident(self, &before);

	if (error < 0)
		return error;
	begin_ns = clock_ns();
	error = client_advise(self->client, MADV_PAGEOUT);
	self->moved_ns = clock_ns() - begin_ns;
	if (error < 0)
		return contestant_fail(self, error, "MADV_PAGEOUT: %s", strerror(-error));
	error = drop_cache(self, swap);
	if (error < 0)
		return error;
	self->moved_bytes = (before - MIN(before, swap->resident_pages)) * PAGE_BYTES;
	return 0;
}

static int restore(struct contestant *self)
{
	uint64_t before;
	uint64_t after;
	uint64_t begin_ns;
	int error = count_resident(self, &before);

	if (error < 0)
		return error;
	begin_ns = clock_ns();
	error = client_dirty(self->client);
	self->moved_ns = clock_ns() - begin_ns;
	if (error < 0)
		return contestant_fail(self, error, "the client died");
	error = count_resident(self, &after);
	if (error < 0)
		return error;
	self->moved_bytes = (after - MIN(before, after)) * PAGE_BYTES;
	return 0;
}

/* The client's own threads swap in: its CPU time has it all. */
static uint64_t cpu_ns(struct contestant *self)
{
	(void)self;
	return 0;
}

/*
 * The client is stopped here, not later: it is in the cgroup, and swapoff would bring its pages
 * back. Copies of its memfd may live on elsewhere, but empty.
 */
static void close_swap(struct contestant *self)
{
	struct swap *swap = self->state;

	if (!swap)
		return;
	if (self->client && !self->setup.client.is_anonymous)
		(void)client_advise(self->client, MADV_REMOVE);
	client_stop(self->client);
	self->client = NULL;
	(void)keeper_stop(self, &swap->keeper);
	free(swap);
	self->state = NULL;
}

const struct contestant_operations contestant_swap = {
	.name = "kernel-swap",
	.open = open_swap,
	.evict = evict,
	.restore = restore,
	.cpu_ns = cpu_ns,
	.close = close_swap,
};

double contestant_swap_resident_share(const struct contestant *self)
{
	const struct swap *swap = self->state;

	ASSERT(self->operations == &contestant_swap);
	return (double)swap->resident_pages / (double)client_pages(self->client);
}

uint32_t contestant_swap_page_cluster(const struct contestant *self)
{
	const struct swap *swap = self->state;

	ASSERT(self->operations == &contestant_swap);
	return swap->page_cluster;
}
