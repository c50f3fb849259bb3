/* SPDX-License-Identifier: Apache-2.0 */
/* Recordings that begin and end while the shards serve the faults of a busy guest. */
#include "tests/support/engine_rig.h"

#define CYCLES 30u

static uint64_t faults_served(const struct rig *rig)
{
	const struct vm_stats stats = rig_stats(rig);

	return stats.count[STAT_faults_staged] + stats.count[STAT_faults_file] +
	       stats.count[STAT_faults_zero];
}

static void check_faults(const struct rig *rig, const struct recording *recording)
{
	for (uint64_t i = 0; i < recording->count; i++) {
		const struct recorded_fault *fault = &recording->fault[i];

		CHECK(fault->page < vm_pages(rig->vm));
		CHECK(fault->kind < LATENCY_COUNT);
		CHECK(i == 0 || fault[-1].time_ns <= fault->time_ns);
	}
}

/* The faults of one recording. */
static uint64_t run_cycle(struct rig *rig, uint32_t cycle)
{
	const uint64_t capacity = cycle % 4 == 3 ? 100 : 0;
	const uint64_t before = faults_served(rig);
	struct test_guest_report report;
	struct recording recording;

	CHECK(vm_record_start(rig->vm, capacity) == 0);
	/* On a busy host the guest may have touched all of it again by then. */
	(void)rig_enable(rig);
	if (cycle % 2 == 0) {
		struct dispatch_result result;

		rig_dispatch(rig, CHUNK_OUT, &result);
		CHECK(result.error == 0);
	}
	test_guest_ask(&rig->guest, &report);
	CHECK(report.bad == 0);
	CHECK(vm_record_stop(rig->vm, &recording) == 0);
	check_faults(rig, &recording);
	CHECK(recording.count + recording.dropped <= faults_served(rig) - before);
	CHECK(capacity == 0 || recording.count <= divide_up(capacity, 3) * 3);
	free(recording.fault);
	return recording.count + recording.dropped;
}

int main(void)
{
	const struct rig_config config = {
		.shards = 3,
		.guest =
			{
				.pages = 16 * CHUNK_PAGES + 100,
				.threads = 4,
				.write_percent = 20,
				.working_percent = 100,
				.zero_percent = 10,
			},
	};
	struct rig rig;
	uint64_t recorded = 0;

	rig_start(&config, &rig);
	for (uint32_t cycle = 0; cycle < CYCLES; cycle++)
		recorded += run_cycle(&rig, cycle);
	printf("%lu faults recorded of %lu\n", recorded, faults_served(&rig));
	CHECK(recorded > 0);
	CHECK(vm_record_start(rig.vm, 0) == 0);
	/* goes with the VM */
	rig_stop(&rig);
	return 0;
}
