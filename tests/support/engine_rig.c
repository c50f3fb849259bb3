/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/engine_rig.h"

#include <errno.h>
#include <string.h>

#define PIECE_CHUNKS 32

void rig_start(const struct rig_config *config, struct rig *ret_rig)
{
	struct rig *rig = ret_rig;
	struct test_guest_config guest = config->guest;
	const struct engine_config engine = {
		.shard_count = config->shards,
		.store = {.kind = SWAPFILE_UNNAMED,
			.path = getenv("VMSWAP_TEST_DIR") ? getenv("VMSWAP_TEST_DIR") : "/var/tmp",
			.limit_bytes = config->store_bytes ? config->store_bytes
							   : 2 * guest.pages * PAGE_BYTES},
	};
	struct region_spec region = {.size_bytes = guest.pages * PAGE_BYTES};
	const struct vm_config vm = {
		.regions = &region,
		.region_count = 1,
		.dwell_ms = config->dwell_ms,
		.verify_clean = !config->trusts_clean,
		.trust_discard = config->trusts_discard,
	};
	struct process_spec process = {0};

	memset(rig, 0, sizeof(*rig));
	guest.descriptors = config->shards;
	rig->uses_digests = config->uses_digests;
	test_guest_start(&guest, &rig->guest);
	CHECK(engine_start(&engine, &rig->engine) == 0);
	region.memfd = rig->guest.memfd;
	CHECK(vm_new(rig->engine, &vm, &rig->vm) == 0);
	process.pid = rig->guest.pid;
	process.pidfd = rig->guest.pidfd;
	process.address = &rig->guest.address;
	process.uffds = rig->guest.uffds;
	CHECK(vm_process_add(rig->vm, &process, &rig->process) == 0);
}

static void enable_piece(struct rig *rig, uint32_t first, uint32_t count, uint64_t *pages)
{
	uint64_t marked[PIECE_CHUNKS * BITMAP_WORDS(CHUNK_PAGES)];
	struct dispatch_result result;
	uint64_t address;
	uint64_t size;
	int error;

	CHECK(vm_dispatch(rig->vm, CHUNK_STAGE, &(struct chunk_range){first, count, NULL}, NULL,
		      &result) == 0);
	CHECK(result.error == 0);
	*pages += result.pages;
	CHECK(vm_piece_address(rig->vm, rig->process, first, count, &address, &size) == 0);
	test_guest_zap(&rig->guest, address, size);
	error = vm_scan_piece(rig->vm, first, count, marked);
	/* Without marks, or without the call that reads them, digests decide. */
	CHECK(error == 0 || error == -ENOTSUP || error == -ENOTTY);
	CHECK(vm_dispatch(rig->vm, CHUNK_SETTLE,
		      &(struct chunk_range){
			      first, count, error || rig->uses_digests ? NULL : marked},
		      NULL, &result) == 0);
}

uint64_t rig_enable(struct rig *rig)
{
	uint64_t pages = 0;
	uint32_t first = 0;
	uint32_t count;

	if (!vm_is_registered(rig->vm))
		CHECK(vm_register(rig->vm) == 0);
	while (vm_next_piece(rig->vm, first, PIECE_CHUNKS, &first, &count) == 0) {
		enable_piece(rig, first, count, &pages);
		first += count;
	}
	return pages;
}

void rig_dispatch(struct rig *rig, enum chunk_op op, struct dispatch_result *ret_result)
{
	CHECK(vm_dispatch(rig->vm, op, NULL, NULL, ret_result) == 0);
}

void rig_disable(struct rig *rig)
{
	struct dispatch_result result;

	rig_dispatch(rig, CHUNK_IN, &result);
	CHECK(result.left_pages == 0);
	rig_dispatch(rig, CHUNK_RELEASE, &result);
	CHECK(vm_unregister(rig->vm) == 0);
}

struct vm_stats rig_stats(const struct rig *rig)
{
	struct vm_stats stats;

	vm_stats_read(rig->vm, &stats);
	CHECK(stats.resident_pages + stats.staging_pages + stats.swap_pages + stats.zero_pages ==
		stats.pages);
	return stats;
}

void rig_abandon(struct rig *rig)
{
	test_guest_kill(&rig->guest);
	vm_process_remove(rig->vm, rig->process);
	vm_free(rig->vm);
	CHECK(engine_store_used_bytes(rig->engine) == 0);
	engine_stop(rig->engine);
}

void rig_stop(struct rig *rig)
{
	struct test_guest_report report;

	if (vm_is_registered(rig->vm))
		rig_disable(rig);
	vm_process_remove(rig->vm, rig->process);
	vm_free(rig->vm);
	test_guest_stop(&rig->guest, &report);
	CHECK(report.visits > 0);
	CHECK(report.bad == 0);
	CHECK(engine_store_used_bytes(rig->engine) == 0);
	engine_stop(rig->engine);
}
