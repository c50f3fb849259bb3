/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that is too small: what does not fit stays in RAM and the VM goes on; after a disable a
 * smaller working set goes out again (the peers' defect D2: a write error made disable fail).
 */
#include <errno.h>

#include "tests/support/engine_rig.h"

int main(void)
{
	const struct rig_config config = {
		.shards = 2,
		.store_bytes = 4 * CHUNK_BYTES,
		.guest = {.pages = 16 * CHUNK_PAGES,
			.threads = 2,
			.write_percent = 20,
			.working_percent = 5},
	};
	struct dispatch_result result;
	struct rig rig;

	rig_start(&config, &rig);
	for (int round = 0; round < 3; round++) {
		(void)rig_enable(&rig);
		rig_dispatch(&rig, CHUNK_OUT, &result);
		CHECK(result.error == -ENOSPC);
		CHECK(result.left_pages > 0);
		CHECK(result.pages > 0);
		CHECK(rig_stats(&rig).swap_pages > 0);
		CHECK(rig_stats(&rig).staging_pages > 0);
		CHECK(engine_store_used_bytes(rig.engine) <= config.store_bytes);
		rig_disable(&rig);
		CHECK(engine_store_used_bytes(rig.engine) == 0);
	}
	CHECK(engine_store_retired_bytes(rig.engine) == 0);
	rig_stop(&rig);
	return 0;
}
