/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cycles of every operation on a guest that rewrites and verifies its memory without pause. With
 * the names of features: as on a kernel that lacks them.
 */
#include "io/feature.h"
#include "tests/support/engine_rig.h"

#define CYCLES 12u

static void run_cycles(const struct rig_config *config, const char *name)
{
	struct rig rig;
	uint64_t out = 0;
	struct vm_stats stats;
	struct test_guest_report before;
	struct test_guest_report after;

	rig_start(config, &rig);
	for (uint32_t cycle = 0; cycle < CYCLES; cycle++) {
		struct dispatch_result result;

		test_guest_ask(&rig.guest, &before);
		CHECK(rig_enable(&rig) > 0);
		if (cycle % 2 == 0)
			rig_dispatch(&rig, CHUNK_TRIM, &result);
		rig_dispatch(&rig, CHUNK_OUT, &result);
		CHECK(result.error == 0);
		out += result.pages;
		stats = rig_stats(&rig);
		if (cycle % 3 == 2)
			rig_disable(&rig);
		test_guest_ask(&rig.guest, &after);
		CHECK(after.bad == 0);
	}
	stats = rig_stats(&rig);
	CHECK(out > 0);
	printf("%s: %lu pages out, faults staged %lu file %lu zero %lu parked %lu, written %lu "
	       "MiB, "
	       "clean %lu zero %lu false clean %lu, staged p50 %.1f us p99 %.1f us, file p50 %.1f "
	       "us\n",
		name, out, stats.count[STAT_faults_staged], stats.count[STAT_faults_file],
		stats.count[STAT_faults_zero], stats.count[STAT_faults_parked],
		stats.count[STAT_written_bytes] >> 20, stats.count[STAT_trimmed_clean_pages],
		stats.count[STAT_trimmed_zero_pages], stats.count[STAT_false_clean_pages],
		stats.latency[LATENCY_STAGED].p50_us, stats.latency[LATENCY_STAGED].p99_us,
		stats.latency[LATENCY_FILE].p50_us);
	CHECK(stats.count[STAT_false_clean_pages] == 0);
	CHECK(stats.count[STAT_poisoned_pages] == 0);
	rig_stop(&rig);
}

int main(int argc, char **argv)
{
	const struct test_guest_config busy = {
		.pages = 16 * CHUNK_PAGES + 100,
		.threads = 4,
		.write_percent = 20,
		.working_percent = 50,
		.zero_percent = 10,
	};
	struct rig_config config = {.shards = 1, .guest = busy};

	for (int i = 1; i < argc; i++) {
		CHECK(feature_by_name(argv[i]) != 0);
		feature_disable(feature_by_name(argv[i]));
	}
	run_cycles(&config, "one shard");
	config.shards = 3;
	run_cycles(&config, "three shards");
	config.trusts_clean = true;
	run_cycles(&config, "clean pages trusted by mark");
	config.uses_digests = true;
	config.trusts_clean = false;
	run_cycles(&config, "clean pages by digest");
	config.guest.is_sequential = true;
	config.guest.write_percent = 5;
	config.uses_digests = false;
	run_cycles(&config, "sequential");
	return 0;
}
