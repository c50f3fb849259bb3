/* SPDX-License-Identifier: Apache-2.0 */
/* What a VMM does to its mappings while pages are staged and out: discard, punch, fork, move,
 * unmap. */
#include <errno.h>

#include "tests/support/engine_rig.h"

#define CHUNKS 8u
#define PAGES  (CHUNKS * (uint64_t)CHUNK_PAGES)

static struct rig_config config = {.shards = 2, .guest = {.pages = PAGES}};

static void start_with_pages_out(struct rig *rig, uint32_t staged_chunks)
{
	struct dispatch_result result;

	rig_start(&config, rig);
	(void)rig_enable(rig);
	CHECK(vm_dispatch(rig->vm, CHUNK_OUT,
		      &(struct chunk_range){0, CHUNKS - staged_chunks, NULL}, NULL, &result) == 0);
	CHECK(result.pages == PAGES - staged_chunks * CHUNK_PAGES);
}

/* A discard frees slots and reads as zeros where the VM is trusted to mean it; zaps of ours do not.
 */
static void trusted_discards_free_slots(void)
{
	struct dispatch_result result;
	struct rig rig;

	config.trusts_discard = true;
	start_with_pages_out(&rig, 2);
	test_guest_do(&rig.guest, TEST_GUEST_REMOVE, 100, 1000);
	test_guest_do(&rig.guest, TEST_GUEST_REMOVE, PAGES - 700, 300);
	test_guest_do(&rig.guest, TEST_GUEST_VERIFY, 0, 0);
	CHECK(rig_stats(&rig).count[STAT_removed_pages] >= 1000);
	/* A zap raises the same event and must not cost a slot. */
	(void)rig_enable(&rig);
	rig_dispatch(&rig, CHUNK_OUT, &result);
	(void)rig_enable(&rig);
	test_guest_do(&rig.guest, TEST_GUEST_VERIFY, 0, 0);
	rig_stop(&rig);
	config.trusts_discard = false;
}

/* Without trust a page that is out keeps its slot; a page in RAM reads as zeros. */
static void punches_are_seen_on_touch(void)
{
	struct rig rig;

	start_with_pages_out(&rig, 2);
	test_guest_do(&rig.guest, TEST_GUEST_PUNCH, PAGES - 700, 300);
	test_guest_do(&rig.guest, TEST_GUEST_VERIFY, 0, 0);
	test_guest_do(&rig.guest, TEST_GUEST_REWRITE, PAGES - 700, 300);
	test_guest_do(&rig.guest, TEST_GUEST_PUNCH, PAGES - 600, 10);
	(void)rig_enable(&rig);
	test_guest_do(&rig.guest, TEST_GUEST_VERIFY, 0, 0);
	rig_stop(&rig);
}

/* A child is served like its parent, and told of. */
static void children_are_served(void)
{
	struct engine_event event = {0};
	struct rig rig;
	uint32_t forks = 0;

	start_with_pages_out(&rig, 2);
	for (int i = 0; i < 3; i++)
		test_guest_do(&rig.guest, TEST_GUEST_FORK, 0, 0);
	while (engine_next_event(rig.engine, &event))
		forks += event.kind == ENGINE_PROCESS_FORKED && event.error == 0;
	CHECK(forks == 3 * config.shards);
	test_guest_do(&rig.guest, TEST_GUEST_VERIFY, 0, 0);
	rig_stop(&rig);
}

/* Moved pages are served at their new address, and are not zapped at the old one. */
static void moved_pages_are_served(void)
{
	uint64_t address;
	uint64_t size;
	struct rig rig;

	config.shards = 1;
	start_with_pages_out(&rig, 2);
	test_guest_do(&rig.guest, TEST_GUEST_MOVE, CHUNK_PAGES, 2 * CHUNK_PAGES);
	test_guest_do(&rig.guest, TEST_GUEST_VERIFY, 0, 0);
	test_guest_do(&rig.guest, TEST_GUEST_REWRITE, 0, PAGES);
	CHECK(vm_piece_address(rig.vm, rig.process, 0, 1, &address, &size) == -ESTALE);
	rig_stop(&rig);
	config.shards = 2;
}

static void unmapped_pages_come_back_into_the_file(void)
{
	struct dispatch_result result;
	struct rig rig;

	start_with_pages_out(&rig, 2);
	test_guest_do(&rig.guest, TEST_GUEST_UNMAP, PAGES - 3 * CHUNK_PAGES, 3 * CHUNK_PAGES);
	test_guest_do(&rig.guest, TEST_GUEST_VERIFY, 0, 0);
	/* One chunk is out and has no address any more. */
	rig_dispatch(&rig, CHUNK_IN, &result);
	CHECK(result.left_pages == 0);
	CHECK(result.error == 0);
	rig_stop(&rig);
}

int main(void)
{
	trusted_discards_free_slots();
	punches_are_seen_on_touch();
	children_are_served();
	moved_pages_are_served();
	unmapped_pages_come_back_into_the_file();
	return 0;
}
