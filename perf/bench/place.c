/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/place.h"

#include <unistd.h>

#include "perf/contestant/contestant.h"

static int last_cpu(void)
{
	return (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
}

bool place_wants(const struct bench *bench, enum placement usual, enum placement placement)
{
	const struct options *options = &bench->options;

	/* With one CPU there is nothing to cross. */
	if (placement == PLACEMENT_CROSS && last_cpu() == 0)
		return false;
	switch (options->pin) {
	case PIN_DEFAULT: return placement == usual;
	case PIN_ONE: return placement == options->placement;
	case PIN_ALL: return true;
	}
	return false;
}

int place_client(enum placement placement)
{
	if (placement == PLACEMENT_NONE)
		return CLIENT_ANY_CPU;
	return placement == PLACEMENT_SAME ? last_cpu() : 0;
}

void place_handler(enum placement placement, struct contestant_setup *setup)
{
	setup->cpu_count = 0;
	if (placement != PLACEMENT_NONE)
		setup->cpus[setup->cpu_count++] = last_cpu();
}
