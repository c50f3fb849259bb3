/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule 1: nothing is punched before the dwell is over, and never between stage and settle. DMA
 * pinned before the zap would go on writing a page that is punched too early.
 */
#include "queue/base/clock.h"
#include "tests/support/engine_rig.h"

#define DWELL_MS 3600000u

static uint64_t out_pages(struct rig *rig, enum chunk_op op, uint64_t *ret_ready_ns)
{
	struct dispatch_result result;

	rig_dispatch(rig, op, &result);
	*ret_ready_ns = result.next_ready_ns;
	return result.pages;
}

int main(void)
{
	const struct rig_config config = {
		.shards = 2,
		.dwell_ms = DWELL_MS,
		.guest = {.pages = 4 * CHUNK_PAGES, .zero_percent = 30},
	};
	const uint64_t begin_ns = clock_ns();
	struct dispatch_result result;
	uint64_t ready_ns;
	struct rig rig;

	rig_start(&config, &rig);
	CHECK(rig_enable(&rig) == 4 * CHUNK_PAGES);

	/* refused, with the moment it ends */
	CHECK(out_pages(&rig, CHUNK_TRIM, &ready_ns) == 0);
	CHECK(ready_ns >= begin_ns + DWELL_MS * NS_PER_MS);
	CHECK(out_pages(&rig, CHUNK_OUT, &ready_ns) == 0);
	CHECK(ready_ns >= begin_ns + DWELL_MS * NS_PER_MS);
	CHECK(rig_stats(&rig).staging_pages == 4 * CHUNK_PAGES);

	/* unsettled: refused even without a dwell */
	vm_set_dwell(rig.vm, 0);
	rig_dispatch(&rig, CHUNK_STAGE, &result);
	CHECK(out_pages(&rig, CHUNK_OUT, &ready_ns) == 0);
	CHECK(out_pages(&rig, CHUNK_TRIM, &ready_ns) == 0);
	CHECK(ready_ns == 0);

	/* settled and over */
	rig_dispatch(&rig, CHUNK_SETTLE, &result);
	CHECK(out_pages(&rig, CHUNK_OUT, &ready_ns) == 4 * CHUNK_PAGES);
	test_guest_do(&rig.guest, TEST_GUEST_VERIFY, 0, 0);
	rig_stop(&rig);
	return 0;
}
