/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "queue/base/bits.h"
#include "queue/base/clock.h"

#define BAR_COLUMNS 20u

static struct {
	bool is_quiet;
	uint32_t steps;
	uint32_t done;
	uint64_t begin_ns; /* of the program's first step */
} progress;

void progress_set_quiet(bool is_quiet)
{
	progress.is_quiet = is_quiet;
}

void progress_begin(uint32_t steps)
{
	progress.steps = steps;
	progress.done = 0;
}

static bool is_shown(void)
{
	return !progress.is_quiet && isatty(STDERR_FILENO);
}

static void draw_bar(void)
{
	const uint32_t filled = MIN(progress.done * BAR_COLUMNS / progress.steps, BAR_COLUMNS);

	(void)fputc('[', stderr);
	for (uint32_t i = 0; i < BAR_COLUMNS; i++)
		(void)fputc(i < filled ? '#' : ' ', stderr);
	(void)fputs("] ", stderr);
}

void progress_step(const char *format, ...)
{
	va_list arguments;

	if (!is_shown())
		return;
	if (progress.begin_ns == 0)
		progress.begin_ns = clock_ns();
	(void)fprintf(stderr, "\r\033[K%3llu s ",
		(unsigned long long)((clock_ns() - progress.begin_ns) / NS_PER_S));
	if (progress.steps > 0)
		draw_bar();
	progress.done++;
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fflush(stderr);
}

void progress_end(void)
{
	progress.steps = 0;
	if (is_shown())
		(void)fputs("\r\033[K", stderr);
}
