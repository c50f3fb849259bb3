/* SPDX-License-Identifier: Apache-2.0 */
/* The trials that several commands share; each is a duel_trial with a struct touch_trial. */
#ifndef VMSWAP_PERF_BENCH_TRIAL_H
#define VMSWAP_PERF_BENCH_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "perf/bench/duel.h"
#include "perf/client/order.h"

/* The metrics these trials set. */
enum touch_metric {
	TOUCH_P50,  /* us */
	TOUCH_P99,  /* us */
	TOUCH_RATE, /* touches/s */
	TOUCH_CPU,  /* us of the handler's CPU a touch */
	TOUCH_TIME, /* s */
	TOUCH_METRICS,
};

struct touch_trial {
	enum order_kind kind;
	uint64_t count; /* touches */
	uint32_t threads;
	int cpu; /* of the touching threads */
	bool is_write;
	bool is_same_each_round; /* the order is made from the same seed */
	const uint32_t *trace;	 /* instead of @kind: @count page numbers */
};

/* Stages, then touches: faults without I/O. */
duel_trial trial_staged;
/* Stages and evicts, then touches: faults from disk. */
duel_trial trial_evicted;

/* Touches as said, without staging, and sets the metrics. */
int trial_touch(struct duel_side *side, uint32_t round);
/* Bytes a second (GB/s) of the contestant's last trim, evict or restore, as metric BULK_RATE. */
#define BULK_RATE 0u
void trial_set_rate(struct duel_side *side, uint32_t round);
/* Every page dirty and in RAM, then staged. */
int trial_stage_dirty(struct duel_side *side);
/* Calls one of the contestant's operations; an absent one is fine. */
int trial_call(struct duel_side *side, int (*operation)(struct contestant *));

#endif
