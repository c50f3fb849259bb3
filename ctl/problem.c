/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "queue/base/assert.h"

int problem_set(struct problem *problem, int error, const char *reason, const char *format, ...)
{
	va_list arguments;

	ASSERT(error < 0);
	ASSERT(strlen(reason) < sizeof(problem->reason));
	if (!problem)
		return error;
	problem->error = error;
	memcpy(problem->reason, reason, strlen(reason) + 1);
	va_start(arguments, format);
	(void)vsnprintf(problem->text, sizeof(problem->text), format, arguments);
	va_end(arguments);
	return error;
}
