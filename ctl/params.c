/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/params.h"

#include <limits.h>
#include <stdarg.h>

#include "ctl/call.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

bool params_unpack(struct call *call, const char *format, ...)
{
	json_error_t error;
	va_list arguments;
	int rc;

	va_start(arguments, format);
	rc = json_vunpack_ex(call_params(call), &error, JSON_STRICT, format, arguments);
	va_end(arguments);
	if (rc == 0)
		return true;
	ASSERT(json_error_code(&error) != json_error_invalid_format);
	call_fail(call, CALL_INVALID_PARAMS, NULL, "params: %s", error.text);
	return false;
}

bool params_check_pid(struct call *call, json_int_t pid)
{
	return params_check_range(call, "pid", pid, 1, INT_MAX);
}

bool params_check_range(
	struct call *call, const char *name, json_int_t value, json_int_t low, json_int_t high)
{
	if (value >= low && value <= high)
		return true;
	call_fail(call, CALL_INVALID_PARAMS, NULL,
		"%s: %" JSON_INTEGER_FORMAT " is not between %" JSON_INTEGER_FORMAT
		" and %" JSON_INTEGER_FORMAT,
		name, value, low, high);
	return false;
}
