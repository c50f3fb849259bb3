/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_BYTES 1024

static atomic_int log_level = LOG_LEVEL_INFO;

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR: return "error: ";
	case LOG_LEVEL_WARNING: return "warning: ";
	case LOG_LEVEL_INFO:
	case LOG_LEVEL_DEBUG: break;
	}
	return "";
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

void log_write(enum log_level level, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;

	if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	va_start(arguments, format);
	(void)vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (isatty(STDERR_FILENO)) /* @control ioctl */
		(void)fprintf(stderr, "vmswapd: %s%s\n", level_name(level), line);
	else
		(void)fprintf(stderr, "<%d>%s%s\n", (int)level, level_name(level), line);
}
