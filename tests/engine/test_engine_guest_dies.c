/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that is killed while its pages are out, half out or on their way: every slot comes free.
 */
#include <signal.h>

#include "tests/support/engine_rig.h"

static const struct rig_config config = {
	.shards = 2,
	.guest = {.pages = 8 * CHUNK_PAGES,
		.threads = 4,
		.write_percent = 20,
		.working_percent = 100},
};

int main(void)
{
	struct dispatch_result result;
	struct rig rig;

	rig_start(&config, &rig);
	rig_abandon(&rig);

	rig_start(&config, &rig);
	(void)rig_enable(&rig);
	rig_dispatch(&rig, CHUNK_OUT, &result);
	CHECK(result.pages > 0);
	rig_abandon(&rig);

	rig_start(&config, &rig);
	(void)rig_enable(&rig);
	rig_dispatch(&rig, CHUNK_OUT, &result);
	CHECK(kill(rig.guest.pid, SIGKILL) == 0);
	/* Nobody is left to take the pages: they stay out, and the operation ends. */
	rig_dispatch(&rig, CHUNK_IN, &result);
	rig_dispatch(&rig, CHUNK_OUT, &result);
	rig_abandon(&rig);
	return 0;
}
