/* SPDX-License-Identifier: Apache-2.0 */
#include "io/feature.h"

#include <stddef.h>
#include <string.h>

#include "io/uffd.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

static const struct {
	const char *name;
	uint32_t bit;
} features[] = {
	{"wp", UFFD_WP},
	{"wp-async", UFFD_WP_ASYNC_MARK},
	{"poison", UFFD_CAN_POISON},
	{"events", UFFD_EVENTS},
	{"event-discard", UFFD_EVENT_DISCARD},
	{"pagemap-scan", FEATURE_PAGEMAP_SCAN},
	{"io_uring", FEATURE_IO_URING},
	{"short-slice", FEATURE_SHORT_SLICE},
};

/* Constant once the first thread runs. */
static uint32_t disabled;

uint32_t feature_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		if (strcmp(name, features[i].name) == 0)
			return features[i].bit;
	}
	return 0;
}

const char *feature_name(uint32_t index, uint32_t *ret_bit)
{
	if (index >= ARRAY_SIZE(features))
		return NULL;
	*ret_bit = features[index].bit;
	return features[index].name;
}

void feature_disable(uint32_t bits)
{
	disabled |= bits;
}

bool feature_is_disabled(uint32_t bit)
{
	ASSERT(is_power_of_two(bit));
	return (disabled & bit) != 0;
}

/* Marks that nothing sets cannot be cleared either. */
uint32_t feature_allowed(uint32_t offered)
{
	const uint32_t allowed = offered & ~disabled;

	return allowed & UFFD_WP ? allowed : allowed & ~(uint32_t)UFFD_WP_ASYNC_MARK;
}
