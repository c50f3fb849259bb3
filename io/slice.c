/* SPDX-License-Identifier: Apache-2.0 */
#include "io/slice.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <linux/sched.h>
#include <linux/sched/types.h>

#include "io/feature.h"
#include "queue/base/clock.h"

/* The shortest the kernel grants. */
#define SLICE_NS (100 * NS_PER_US)

void slice_shorten(void)
{
	struct sched_attr attributes = {.size = sizeof(attributes)};

	if (feature_is_disabled(FEATURE_SHORT_SLICE))
		return;
	/* @unfiltered sched_getattr */
	if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) < 0 ||
		attributes.sched_policy != SCHED_NORMAL)
		return;
	attributes.sched_runtime = SLICE_NS;
	(void)syscall(SYS_sched_setattr, 0, &attributes, 0); /* @unfiltered sched_setattr */
}
