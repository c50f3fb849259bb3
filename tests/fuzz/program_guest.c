/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#define options_parse program_guest_parse
#include "queue/base/assert.h"
#include "tools/vmswap-guest/options.c" /* NOLINT(bugprone-suspicious-include) */

void program_guest(int count, char **argument)
{
	struct guest_options options;

	if (options_parse(count, argument, &options) >= 0)
		return;
	ASSERT(options.size_bytes >= CHUNK_BYTES && options.size_bytes <= SIZE_BYTES_MAX);
	ASSERT(options.size_bytes % CHUNK_BYTES == 0);
	ASSERT(options.threads >= 1 && options.threads <= GUEST_THREADS_MAX);
	ASSERT(options.processes >= 1 && options.processes <= GUEST_PROCESSES_MAX);
	ASSERT(options.working_set_percent >= 1 && options.working_set_percent <= 100);
	ASSERT(options.read_only_percent <= 100);
	ASSERT(options.zero_percent <= 100);
	ASSERT(!options.attach || !options.anonymous);
}
