/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded: a wall clock that is set back and forward by hours each time somebody looks, as
 * settimeofday(2) would do it. Monotonic clocks are the kernel's.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define STEP_S (5 * 3600)

static _Atomic unsigned int looks;

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	const long rc = syscall(SYS_clock_gettime, clock, ret_now);

	if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ret_now->tv_sec += atomic_fetch_add(&looks, 1) % 2 ? STEP_S : -STEP_S;
	return (int)rc;
}

time_t time(time_t *ret_now)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (ret_now)
		*ret_now = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict ret_now, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	*ret_now = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
	return 0;
}
