/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/park.h"

#include "engine/fault.h"
#include "engine/resolve.h"
#include "engine/shard.h"
#include "queue/base/assert.h"

void park_fault(struct shard *shard, const struct fault *fault)
{
	struct parked *parked = &shard->parked;

	shard_assert_owner(shard);
	ASSERT(fault->served->vm != NULL);
	stats_add(shard_stats(shard, fault->served->vm), STAT_faults_parked, 1);
	if (parked->count == PARKED_MAX)
		resolve_wake(fault->served, fault->page, 1);
	else
		parked->fault[parked->count++] = *fault;
}

bool park_retry(struct shard *shard)
{
	struct parked *parked = &shard->parked;
	const uint32_t before = parked->count;
	uint32_t kept = 0;

	shard_assert_owner(shard);
	for (uint32_t i = 0; i < before; i++) {
		const struct fault fault = parked->fault[i];

		if (!fault_serve(shard, &fault))
			parked->fault[kept++] = fault;
	}
	ASSERT(parked->count == before);
	parked->count = kept;
	return kept < before;
}

void park_forget(struct shard *shard, const struct served *served)
{
	struct parked *parked = &shard->parked;
	uint32_t kept = 0;

	shard_assert_owner(shard);
	for (uint32_t i = 0; i < parked->count; i++)
		if (parked->fault[i].served != served)
			parked->fault[kept++] = parked->fault[i];
	parked->count = kept;
}
