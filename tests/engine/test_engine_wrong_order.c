/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule 1b and the checkers: what the order stage, zap, scan, settle protects from. Each wrong
 * order is done on purpose, with clean pages trusted by mark; the guest must see its writes lost.
 * Should one of these runs end without loss, the rule would not be needed, or the checkers would
 * not check. (Scanning before the zap is tried in the simulation, where the race can be made.)
 */
#include "queue/base/clock.h"
#include "tests/support/engine_rig.h"

#define CHUNKS 8u
/* A wrong order is a race: it is given this long to show. */
#define PATIENCE_NS (40 * NS_PER_S)

enum order { ORDER_NO_ZAP, ORDER_ALL_MARKED };

static void enable_wrongly(struct rig *rig, enum order order)
{
	uint64_t marked[CHUNKS * BITMAP_WORDS(CHUNK_PAGES)] = {0};
	struct dispatch_result result;

	rig_dispatch(rig, CHUNK_STAGE, &result);
	if (order == ORDER_ALL_MARKED) {
		test_guest_zap(&rig->guest, rig->guest.address, CHUNKS * CHUNK_BYTES);
		for (size_t i = 0; i < ARRAY_SIZE(marked); i++)
			marked[i] = UINT64_MAX;
	}
	CHECK(vm_dispatch(rig->vm, CHUNK_SETTLE, &(struct chunk_range){0, CHUNKS, marked}, NULL,
		      &result) == 0);
}

static void must_lose(enum order order, const char *name)
{
	const struct rig_config config = {
		.shards = 1,
		.trusts_clean = true,
		.guest = {.pages = CHUNKS * CHUNK_PAGES,
			.threads = 4,
			.write_percent = 50,
			.working_percent = 100},
	};
	const uint64_t end_ns = clock_ns() + PATIENCE_NS;
	struct test_guest_report report = {0};
	bool has_lost = false;
	struct rig rig;

	rig_start(&config, &rig);
	(void)rig_enable(&rig);
	while (!has_lost && clock_ns() < end_ns) {
		struct dispatch_result result;

		enable_wrongly(&rig, order);
		rig_dispatch(&rig, CHUNK_OUT, &result);
		/* Content that changed between digest and write is poison: the guest dies of it. */
		has_lost = !test_guest_try_ask(&rig.guest, &report) || report.bad > 0;
	}
	printf("%s: %lu bad pages, %lu poisoned\n", name, report.bad,
		rig_stats(&rig).count[STAT_poisoned_pages]);
	CHECK(has_lost);
	rig_abandon(&rig);
}

int main(void)
{
	must_lose(ORDER_NO_ZAP, "staged without a zap");
	must_lose(ORDER_ALL_MARKED, "every slot taken for clean");
	return 0;
}
