/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#define main program_run_main
int program_run_main(int argc, char **argv);
#include "ctl/run/main.c" /* NOLINT(bugprone-suspicious-include) */
#undef main
#include "queue/base/assert.h"

void program_run(int count, char **argument)
{
	struct options options = {
		.socket = RPC_SOCKET_DEFAULT,
		.request = {.wait_ms = TIMEOUT_S_DEFAULT * 1000, .min_bytes = MIN_BYTES_DEFAULT},
	};

	if (parse(count, argument, &options) != 0)
		return;
	ASSERT(options.command[0] != NULL);
	ASSERT(options.request.wait_ms <= TIMEOUT_S_MAX * 1000);
	ASSERT(options.request.min_bytes > 0 && options.request.min_bytes <= INT64_MAX);
}
