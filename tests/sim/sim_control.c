/* SPDX-License-Identifier: Apache-2.0 */
/* What control does: enable in pieces, in the right order or not, and the chunk operations. */
#include <errno.h>
#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "tests/sim/sim.h"

/* Chunks of one piece at most. */
#define PIECE_MAX 8u
/* Swap-ins until a disk that fails now and then has given everything. */
#define IN_TRIES_MAX 20u

static void zap(struct sim *sim, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < FAKE_PROCESSES_MAX; i++) {
		uint64_t address;
		uint64_t size;

		if (sim->is_served[i] &&
			vm_piece_address(sim->vm, i, first, count, &address, &size) == 0)
			fake_zap(sim->process[i], address, size);
		sim_idle(sim, (uint32_t)fake_random(6));
	}
}

static void pageout(struct sim *sim, uint32_t first, uint32_t count)
{
	uint64_t present[PIECE_MAX * BITMAP_WORDS(CHUNK_PAGES)];
	struct dispatch_result result;
	int error = vm_pageout_piece(sim->vm, first, count);

	sim_idle(sim, (uint32_t)fake_random(4));
	/* A process that dies on the way is zapped by its death. */
	if (!error || error == -ESRCH)
		error = vm_scan_present_piece(sim->vm, first, count, present);
	if (!error)
		error = vm_dispatch(sim->vm, CHUNK_UNSTAGE,
			&(struct chunk_range){first, count, present}, NULL, &result);
	if (error && error != -ESRCH)
		fake_fail("pageout: %d", error);
}

static void scan_unwritten(struct sim *sim, uint32_t first, uint32_t count, uint64_t *marked)
{
	uint64_t address;
	uint64_t size;

	memset(marked, 0, count * BITMAP_WORDS(CHUNK_PAGES) * sizeof(*marked));
	if (vm_piece_address(sim->vm, 0, first, count, &address, &size) == 0)
		fake_scan_unwritten(
			sim->process[0], address, (uint32_t)(size / PAGE_BYTES), marked);
}

/* The piece between stage and settle; true when @marked says which pages are clean. */
static bool zap_piece(
	struct sim *sim, enum sim_enable how, uint32_t first, uint32_t count, uint64_t *marked)
{
	bool has_marks = false;

	if (how == SIM_SCAN_BEFORE_ZAP) {
		scan_unwritten(sim, first, count, marked);
		sim_idle(sim, (uint32_t)fake_random(4));
		zap(sim, first, count);
		return true;
	}
	if (how == SIM_SETTLE_BLINDLY) {
		zap(sim, first, count);
		memset(marked, 0xff, count * BITMAP_WORDS(CHUNK_PAGES) * sizeof(*marked));
		return true;
	}
	if (how == SIM_PAGEOUT)
		pageout(sim, first, count);
	else if (how != SIM_WITHOUT_ZAP)
		zap(sim, first, count);
	if (how != SIM_WITHOUT_SCAN)
		has_marks = vm_scan_piece(sim->vm, first, count, marked) == 0;
	sim_idle(sim, (uint32_t)fake_random(4));
	return has_marks;
}

static void enable_piece(struct sim *sim, enum sim_enable how, uint32_t first, uint32_t count)
{
	uint64_t marked[PIECE_MAX * BITMAP_WORDS(CHUNK_PAGES)];
	struct dispatch_result result;
	bool has_marks;

	sim_idle(sim, (uint32_t)fake_random(4));
	has_marks = zap_piece(sim, how, first, count, marked);
	if (how == SIM_WITHOUT_SETTLE)
		return;
	if (vm_dispatch(sim->vm, CHUNK_SETTLE,
		    &(struct chunk_range){first, count, has_marks ? marked : NULL}, NULL,
		    &result) != 0)
		fake_fail("settle failed");
}

uint64_t sim_enable(struct sim *sim, enum sim_enable how, uint32_t first, uint32_t count)
{
	const uint32_t end = first + count;
	uint64_t staged = 0;
	uint32_t pieces = 0;

	while (vm_next_piece(sim->vm, first, PIECE_MAX, &first, &count) == 0 && first < end) {
		struct dispatch_result result;

		fake_progress();
		count = MIN(count, end - first);
		ASSERT(vm_dispatch(sim->vm, CHUNK_STAGE, &(struct chunk_range){first, count, NULL},
			       NULL, &result) == 0);
		staged += result.pages;
		enable_piece(sim, how, first, count);
		first += count;
		if (++pieces % 4 == 0)
			sim_check(sim);
	}
	sim_check(sim);
	return staged;
}

int sim_dispatch(struct sim *sim, enum chunk_op op, uint32_t first, uint32_t count,
	struct dispatch_result *ret_result)
{
	int error;

	fake_progress();
	error = vm_dispatch(
		sim->vm, op, &(struct chunk_range){first, count, NULL}, &sim->control, ret_result);
	sim_check(sim);
	return error;
}

struct dispatch_result sim_all(struct sim *sim, enum chunk_op op)
{
	struct dispatch_result result;
	const int error = sim_dispatch(sim, op, 0, vm_chunk_count(sim->vm), &result);

	if (error)
		fake_fail("operation %d: %d", (int)op, error);
	return result;
}

void sim_all_in(struct sim *sim)
{
	struct dispatch_result result = sim_all(sim, CHUNK_IN);
	uint64_t out = sim_pages(sim).state[PAGE_SWAPPED];

	/* A disk that failed now and then must do better in the end. */
	for (uint32_t try = 0; try < IN_TRIES_MAX && out > 0 && result.error == -EIO; try++) {
		result = sim_all(sim, CHUNK_IN);
		out = sim_pages(sim).state[PAGE_SWAPPED];
	}
	if (out > 0)
		fake_fail("%lu pages stay out, error %d", out, result.error);
}

void sim_random_operation(struct sim *sim)
{
	static const enum sim_enable ways[] = {SIM_RIGHT, SIM_RIGHT, SIM_WITHOUT_SCAN, SIM_PAGEOUT};
	const uint32_t chunks = vm_chunk_count(sim->vm);
	struct dispatch_result result;

	switch (fake_random(9)) {
	case 0:
	case 1:
	case 2: (void)sim_enable(sim, ways[fake_random(4)], 0, chunks); break;
	case 3: (void)sim_dispatch(sim, CHUNK_TRIM, 0, chunks, &result); break;
	case 4:
	case 5: (void)sim_dispatch(sim, CHUNK_OUT, 0, chunks, &result); break;
	case 6: (void)sim_dispatch(sim, CHUNK_IN, 0, chunks, &result); break;
	case 7: (void)engine_release_space(sim->engine, 2 * CHUNK_BYTES); break;
	default: sim_idle(sim, (uint32_t)fake_random(100)); break;
	}
}
