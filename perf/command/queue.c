/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two questions that the queue layer was cut by; the answers are in queue/README.md.
 *
 *   convoy   queue/ring.h against ck_ring's multi-producer path, producers sharing one CPU
 *   lanes    commands addressed to their owner's lane against one shared ring, whose consumers hand
 *            what they do not own to the owner's lane
 */
#include "perf/bench/bench.h"
#include "perf/bench/host.h"
#include "perf/bench/progress.h"
#include "perf/bench/row.h"
#include "perf/command/queue_threads.h"
#include "queue/base/bits.h"

/* A round takes a second; others may use a tenth of a CPU meanwhile. */
#define NOISY_SHARE 0.1

static const struct queue_scenario convoys[] = {
	{"2 producers on CPU 0, 1 consumer on CPU 1", 2, 1, 0, 1},
	{"8 producers on CPU 0, 1 consumer on CPU 1", 8, 1, 0, 1},
	{"2 producers and 1 consumer, any CPU", 2, 1, QUEUE_ANY_CPU, QUEUE_ANY_CPU},
	{"1 producer on CPU 0, 1 consumer on CPU 1", 1, 1, 0, 1},
};

static const struct queue_scenario lanes[] = {
	{"1 producer, 2 owners, any CPU", 1, 2, QUEUE_ANY_CPU, QUEUE_ANY_CPU},
	{"1 producer, 4 owners, any CPU", 1, 4, QUEUE_ANY_CPU, QUEUE_ANY_CPU},
	{"2 producers, 4 owners, any CPU", 2, 4, QUEUE_ANY_CPU, QUEUE_ANY_CPU},
};

static void run(struct bench *bench, const struct queue_scenario *scenario,
	enum queue_variant subject, enum queue_variant reference)
{
	static const char *const name[QUEUE_VARIANTS] = {
		[QUEUE_CK] = "ck_ring",
		[QUEUE_RING] = "queue/ring",
		[QUEUE_HAND_ON] = "shared, handed on",
		[QUEUE_LANES] = "lanes",
	};
	struct row row = {
		.id = "queue",
		.part = scenario->name,
		.what = subject == QUEUE_RING ? "many producers" : "ways to the owner",
		.subject = name[subject],
		.reference = name[reference],
		.unit = "items/s",
		.placement = "none",
	};

	for (uint32_t round = 0; round < bench->options.rounds; round++) {
		struct host_load load;
		double first;
		double second;

		progress_step("queue: %s, round %u", scenario->name, round + 1);
		host_load_begin(&load);
		first = queue_threads_measure(scenario, subject);
		second = queue_threads_measure(scenario, reference);
		row_add(&row, first, second > 0 ? second : 1,
			host_load_foreign(&load) > NOISY_SHARE);
	}
	progress_end();
	bench_add(bench, &row);
}

void command_queue(struct bench *bench)
{
	/* Without --full one of them, which answers the first question. */
	const size_t convoy_count = bench->options.is_full ? ARRAY_SIZE(convoys) : 1;
	const size_t lane_count = bench->options.is_full ? ARRAY_SIZE(lanes) : 0;

	if (queue_threads_init() < 0) {
		bench_fail(bench, "queue", "no memory");
		return;
	}
	for (size_t i = 0; i < convoy_count; i++)
		run(bench, &convoys[i], QUEUE_RING, QUEUE_CK);
	for (size_t i = 0; i < lane_count; i++)
		run(bench, &lanes[i], QUEUE_LANES, QUEUE_HAND_ON);
	queue_threads_done();
}
