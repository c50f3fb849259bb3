/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/contestant.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"

int contestant_open(struct contestant *self, const struct contestant_operations *operations,
	const struct contestant_setup *setup)
{
	int error;

	ASSERT(setup->cpu_count <= CONTESTANT_CPUS_MAX);
	*self = (struct contestant){.operations = operations, .setup = *setup};
	error = client_start(&setup->client, &self->client);
	if (error < 0)
		return contestant_fail(self, error, "no client with %llu pages: %s",
			(unsigned long long)setup->client.pages, strerror(-error));
	return operations->open(self);
}

/* What serves goes first: it may want to put things right in the client. */
void contestant_close(struct contestant *self)
{
	self->operations->close(self);
	ASSERT(!self->state);
	client_stop(self->client);
	self->client = NULL;
}

int contestant_fail(struct contestant *self, int error, const char *format, ...)
{
	va_list arguments;

	ASSERT(error < 0);
	va_start(arguments, format);
	(void)vsnprintf(self->why, sizeof(self->why), format, arguments);
	va_end(arguments);
	return error;
}

void contestant_pin_handler(const struct contestant *self)
{
	cpu_set_t cpus;

	if (self->setup.cpu_count == 0)
		return;
	CPU_ZERO(&cpus);
	CPU_SET((unsigned)self->setup.cpus[0], &cpus);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus);
}

uint64_t contestant_process_cpu_ns(pid_t pid)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) < 0)
		return 0;
	return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}
