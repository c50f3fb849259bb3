/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/attach_options.h"

#include <stdlib.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define MIN_BYTES_DEFAULT (64 * MIB)

struct attach_options *attach_options_new(void)
{
	struct attach_options *options = calloc(1, sizeof(*options));

	if (!options)
		return NULL;
	options->target.min_bytes = MIN_BYTES_DEFAULT;
	options->dwell_ms = DWELL_AUTO;
	options->verify_clean = true;
	options->channel = -1;
	return options;
}

void attach_options_free(struct attach_options *options)
{
	if (!options)
		return;
	ASSERT(options->uffd_count <= SHARDS_MAX);
	ASSERT(options->region_count <= REGIONS_MAX);
	for (uint32_t i = 0; i < options->uffd_count; i++)
		close_fd(options->uffds[i]);
	for (uint32_t i = 0; i < options->region_count; i++)
		close_fd(options->regions[i].memfd);
	close_fd(options->channel);
	free(options);
}
