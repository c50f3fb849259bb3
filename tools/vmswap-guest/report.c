/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswap-guest/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "tools/vmswap-guest/pattern.h"

/* Below PIPE_BUF, so that a line is never split. */
#define LINE_BYTES 1024

/* @line has room for a newline. A reader that has gone is no reason to stop. */
static void write_line(int fd, char *line, size_t length)
{
	ASSERT(length < LINE_BYTES);
	line[length] = '\n';
	if (write(fd, line, length + 1) < 0)
		return;
}

void report_line(const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	ASSERT(length >= 0);
	write_line(STDOUT_FILENO, line, MIN((size_t)length, sizeof(line) - 2));
}

void report_error(const char *format, ...)
{
	static const char prefix[] = "vmswap-guest: ";
	const size_t skip = sizeof(prefix) - 1;
	char line[LINE_BYTES];
	va_list arguments;
	int length;

	memcpy(line, prefix, skip);
	va_start(arguments, format);
	length = vsnprintf(line + skip, sizeof(line) - skip - 1, format, arguments);
	va_end(arguments);
	ASSERT(length >= 0);
	write_line(STDERR_FILENO, line, MIN(skip + (size_t)length, sizeof(line) - 2));
}

void report_json(json_t *object)
{
	char line[LINE_BYTES];
	size_t length;

	ASSERT(object);
	length = json_dumpb(object, line, sizeof(line) - 1, JSON_COMPACT);
	ASSERT(length < sizeof(line) - 1);
	json_decref(object);
	write_line(STDOUT_FILENO, line, length);
}

void report_bad(bool as_json, uint64_t page, const char *what, const struct mismatch *mismatch)
{
	if (!as_json) {
		report_line("BAD page=%llu expected=%s word=%u expected_word=%#llx found=%#llx "
			    "found_page=%llu found_generation=%llu",
			(unsigned long long)page, what, mismatch->word,
			(unsigned long long)mismatch->expected, (unsigned long long)mismatch->found,
			(unsigned long long)mismatch->found_page,
			(unsigned long long)mismatch->found_generation);
		return;
	}
	report_json(json_pack("{s:s, s:I, s:s, s:i, s:I, s:I}", "status", "BAD", "page",
		(json_int_t)page, "expected", what, "word", (int)mismatch->word, "found_page",
		(json_int_t)mismatch->found_page, "found_generation",
		(json_int_t)mismatch->found_generation));
}
