/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enable: every page in RAM becomes staged, that is, mapped by nobody and still in the page cache.
 * Piece by piece, in this order (design.md 3, rule 1b; each other order loses writes):
 *
 *   stage     the table says: staged, unsettled
 *   zap       the page-table entries go
 *   unstage   where the zap is not exhaustive: what is still mapped is resident again
 *   scan      which write marks survived
 *   settle    slots of pages whose mark survived stay valid; the dwell begins
 *
 * A piece whose zap failed is released: a page that may be mapped must not count as staged.
 */
#include <string.h>

#include "ctl/attach.h"
#include "ctl/children.h"
#include "ctl/cleaner.h"
#include "ctl/job.h"
#include "ctl/operation.h"
#include "ctl/problem.h"
#include "ctl/worker.h"
#include "ctl/zapper.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/probe.h"

struct piece {
	uint32_t first;
	uint32_t count;
	uint64_t bits[BITMAP_WORDS(ZAPPER_PIECE_CHUNKS * CHUNK_PAGES)];
};

/* A piece is short and must not be left half done: no abort inside. */
static void dispatch_piece(struct vm *vm, enum chunk_op op, const struct piece *piece,
	const uint64_t *bits, struct dispatch_result *ret_result)
{
	int rc;

	memset(ret_result, 0, sizeof(*ret_result));
	rc = vm_dispatch(
		vm, op, &(struct chunk_range){piece->first, piece->count, bits}, NULL, ret_result);
	ASSERT(rc == 0);
}

/* 0, or -errno of the scan. */
static int unstage_mapped(struct vm *vm, struct piece *piece, uint64_t *ret_pages)
{
	struct dispatch_result result;
	int rc = vm_scan_present_piece(vm, piece->first, piece->count, piece->bits);

	if (rc < 0)
		return rc;
	dispatch_piece(vm, CHUNK_UNSTAGE, piece, piece->bits, &result);
	*ret_pages = result.pages;
	return 0;
}

static int zap_piece(struct attachment *attachment, struct piece *piece, uint64_t *ret_unstaged,
	struct problem *problem)
{
	int rc = zapper_zap(attachment, piece->first, piece->count, problem);

	if (rc <= 0)
		return rc;
	rc = unstage_mapped(attachment->vm, piece, ret_unstaged);
	if (rc < 0)
		return problem_set(problem, rc, "scan-failed",
			"the page tables of the VM's processes cannot be read: %s", strerror(-rc));
	return 0;
}

static int stage_piece(struct attachment *attachment, struct piece *piece, struct job *job)
{
	struct vm *vm = attachment->vm;
	struct dispatch_result result;
	uint64_t staged;
	uint64_t unstaged = 0;
	bool has_marks;
	int rc;

	dispatch_piece(vm, CHUNK_STAGE, piece, NULL, &result);
	staged = result.pages;
	if (staged == 0) {
		/* Nothing to zap; what was staged before stays ready to go. */
		dispatch_piece(vm, CHUNK_SETTLE, piece, NULL, &result);
		return 0;
	}
	PROBE(enable, staged);
	rc = zap_piece(attachment, piece, &unstaged, &job->result.problem);
	PROBE(enable, zapped);
	if (rc < 0) {
		dispatch_piece(vm, CHUNK_RELEASE, piece, NULL, &result);
		return rc;
	}
	has_marks = vm_scan_piece(vm, piece->first, piece->count, piece->bits) == 0;
	PROBE(enable, scanned);
	dispatch_piece(vm, CHUNK_SETTLE, piece, has_marks ? piece->bits : NULL, &result);
	PROBE(enable, settled);
	staged -= MIN(staged, unstaged);
	job->result.pages += staged;
	(void)atomic_fetch_add_explicit(&job->base_pages, staged, memory_order_relaxed);
	return 0;
}

static int stage_all(struct worker *worker, struct job *job)
{
	struct attachment *attachment = worker_attachment(worker);
	struct piece piece = {.first = 0, .count = 0};

	job_set_phase(job, PHASE_STAGING);
	while (vm_next_piece(attachment->vm, piece.first + piece.count, ZAPPER_PIECE_CHUNKS,
		       &piece.first, &piece.count) == 0) {
		int rc;

		ASSERT(piece.count >= 1);
		ASSERT(piece.count <= ZAPPER_PIECE_CHUNKS);
		if (!worker_yield(worker, job))
			return -ECANCELED;
		rc = stage_piece(attachment, &piece, job);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Back to where faults are the kernel's: only when they were before, so that no page is out. */
static void give_back(struct attachment *attachment)
{
	struct vm *vm = attachment->vm;
	struct dispatch_result result;

	(void)vm_dispatch(vm, CHUNK_RELEASE, NULL, NULL, &result);
	PROBE(enable, releasing);
	/* If it fails the VM stays registered, and the result says so. */
	if (vm_unregister(vm) == 0)
		children_forget(&attachment->ledger);
}

static int explain_register(struct job *job, int error)
{
	if (error == -ESTALE)
		return problem_set(&job->result.problem, error, "mapping-changed",
			"a process of %s has moved or unmapped guest memory: remove it from the VM "
			"if it maps none any more, else detach the VM and attach it again",
			job->vm_name);
	return problem_set(&job->result.problem, error,
		error == -EBUSY ? "userfaultfd-present" : "register-failed",
		"the memory of %s cannot be registered: %s", job->vm_name, strerror(-error));
}

int enable_run(struct worker *worker, struct job *job)
{
	struct vm *vm = worker_attachment(worker)->vm;
	bool was_registered = vm_is_registered(vm);
	struct vm_stats stats;
	int rc;

	cleaner_finish(worker_cleaner(worker));
	rc = operation_check_mappers(worker, job);
	if (rc < 0)
		return rc;
	vm_stats_read(vm, &stats);
	operation_expect(job, stats.resident_pages);
	rc = was_registered ? 0 : vm_register(vm);
	if (rc < 0)
		return explain_register(job, rc);
	PROBE(enable, registered);
	rc = stage_all(worker, job);
	if (rc < 0 && !was_registered)
		give_back(worker_attachment(worker));
	return rc;
}
