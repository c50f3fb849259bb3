/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/zapper.h"

#include <stdbool.h>
#include <string.h>

#include "ctl/attach.h"
#include "ctl/channel.h"
#include "ctl/inject.h"
#include "ctl/member.h"
#include "ctl/problem.h"
#include "engine/engine.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

static int zap_range(
	const struct member *member, uint64_t address, uint64_t size_bytes, struct problem *problem)
{
	struct inject_zapped zapped;
	int rc;

	if (member->channel >= 0) {
		rc = channel_zap(member->channel, address, size_bytes);
		return rc == 0 ? 0
			       : problem_set(problem, rc, "zap-failed",
					 "the library in process %d (%s) did not unmap a range: %s",
					 (int)member->target.pid, member->target.comm,
					 strerror(-rc));
	}
	rc = inject_zap(&member->target, address, size_bytes, &zapped, problem);
	if (rc < 0)
		return rc;
	rc = zapped.result;
	return rc >= 0 ? 0
		       : problem_set(problem, rc, "zap-failed",
				 "madvise in process %d (%s) failed: %s", (int)member->target.pid,
				 member->target.comm, strerror(-rc));
}

static int zap_member(struct attachment *attachment, const struct member *member, uint32_t first,
	uint32_t count, struct problem *problem)
{
	uint64_t address;
	uint64_t size_bytes;
	int rc;

	rc = vm_piece_address(attachment->vm, member->process, first, count, &address, &size_bytes);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return problem_set(problem, rc, "mapping-changed",
			"process %d (%s) has moved or unmapped guest memory: remove it from the VM "
			"if it maps none any more, else detach the VM and attach it again",
			(int)member->target.pid, member->target.comm);
	rc = zap_range(member, address, size_bytes, problem);
	if (rc == -ENOMEM) /* the process unmapped a part; madvise did the rest */
		return 0;
	return rc < 0 && !member_is_alive(member) ? 0 : rc;
}

static int zap_from_outside(
	struct attachment *attachment, uint32_t first, uint32_t count, struct problem *problem)
{
	int rc = vm_pageout_piece(attachment->vm, first, count);

	if (rc < 0)
		return problem_set(problem, rc, "zap-failed",
			"process_madvise(MADV_PAGEOUT) failed: %s", strerror(-rc));
	return 1;
}

int zapper_zap(
	struct attachment *attachment, uint32_t first, uint32_t count, struct problem *problem)
{
	int rc = 0;

	ASSERT(count >= 1);
	if (attachment->zap == ZAP_PAGEOUT)
		return zap_from_outside(attachment, first, count, problem);
	for (uint32_t i = 0; i < attachment->member_count && rc == 0; i++)
		rc = zap_member(attachment, &attachment->member[i], first, count, problem);
	if (rc == 0 || rc == -ESTALE || attachment->zap == ZAP_INJECT)
		return rc;
	if (rc == -EPERM) /* for good: do not ask a thousand times */
		attachment->zap = ZAP_PAGEOUT;
	return zap_from_outside(attachment, first, count, problem);
}

int zapper_zap_all(
	struct attachment *attachment, const struct member *member, struct problem *problem)
{
	uint32_t first = 0;
	uint32_t count = 0;

	while (vm_next_piece(attachment->vm, first, ZAPPER_PIECE_CHUNKS, &first, &count) == 0) {
		int rc = zap_member(attachment, member, first, count, problem);

		if (rc < 0)
			return rc;
		ASSERT(count >= 1);
		first += count;
	}
	return 0;
}
