/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs for debugging: record-start, record-stop. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "tools/vmswapctl/ask.h"
#include "tools/vmswapctl/status.h"
#include "tools/vmswapctl/table.h"

enum status verb_record_start(struct invocation *invocation)
{
	json_t *params = json_copy(invocation->options);
	json_t *result;
	enum status status;

	(void)json_object_set_new(params, "vm", json_string(invocation->arguments[0]));
	status = ask(invocation, "debug.record_start", params, &result);
	if (status != STATUS_OK)
		return status;
	if (invocation->is_json)
		ask_print_json(result);
	else
		(void)printf("faults of %s are being recorded\n",
			table_harmless(invocation->arguments[0]));
	json_decref(result);
	return STATUS_OK;
}

/* The daemon's working directory is another one. NULL: there is none, or no memory. */
static char *absolute(const char *path)
{
	CLEANUP_FREE char *directory = NULL;
	char *joined;

	if (path[0] == '/')
		return strdup(path);
	directory = getcwd(NULL, 0);
	if (!directory || asprintf(&joined, "%s/%s", directory, path) < 0)
		return NULL;
	return joined;
}

enum status verb_record_stop(struct invocation *invocation)
{
	CLEANUP_FREE char *path = absolute(invocation->arguments[1]);
	json_t *result;
	enum status status;

	if (!path)
		return complain(invocation, STATUS_FAILED, "%s cannot be made absolute: %s",
			invocation->arguments[1], strerror(errno));
	status = ask(invocation, "debug.record_stop",
		json_pack("{s:s, s:s}", "vm", invocation->arguments[0], "path", path), &result);
	if (status != STATUS_OK)
		return status;
	if (invocation->is_json)
		ask_print_json(result);
	else
		(void)printf("%" PRIu64 " faults written to %s; %" PRIu64 " did not fit\n",
			status_number(result, "entries"), table_harmless(path),
			status_number(result, "dropped"));
	json_decref(result);
	return STATUS_OK;
}
