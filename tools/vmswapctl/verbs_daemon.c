/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs about the daemon as a whole. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "tools/vmswapctl/ask.h"
#include "tools/vmswapctl/table.h"

enum status verb_ping(struct invocation *invocation)
{
	json_t *result;
	uint64_t start_ns = clock_ns();
	enum status status = ask(invocation, "daemon.ping", NULL, &result);

	if (status != STATUS_OK)
		return status;
	if (invocation->is_json)
		ask_print_json(result);
	else
		(void)printf("The daemon at %s answered in %llu us\n", invocation->socket,
			(clock_ns() - start_ns) / NS_PER_US);
	json_decref(result);
	return STATUS_OK;
}

enum status verb_shutdown(struct invocation *invocation)
{
	bool is_forced = json_is_true(json_object_get(invocation->options, "force"));
	json_t *params = json_pack("{s:b}", "force", is_forced);
	json_t *result;
	enum status status = ask(invocation, "daemon.shutdown", params, &result);

	if (status != STATUS_OK)
		return status;
	if (invocation->is_json)
		ask_print_json(result);
	else
		(void)printf("The daemon at %s ends; all memory is in RAM\n", invocation->socket);
	json_decref(result);
	return STATUS_OK;
}

/* "12:34:56.789 state vm=qemu-1 from=ready state=pending" */
static void print_event(const json_t *event)
{
	json_int_t time_ms = json_integer_value(json_object_get(event, "time_ms"));
	const char *type = json_string_value(json_object_get(event, "type"));
	time_t time_s = (time_t)(time_ms / 1000);
	struct tm local;
	char clock[16];
	CLEANUP_FREE char *text = strdup(type ? type : "event");
	const char *key;
	json_t *value;

	(void)localtime_r(&time_s, &local);
	(void)strftime(clock, sizeof(clock), "%H:%M:%S", &local);
	(void)printf(
		"%s.%03d %s", clock, (int)(time_ms % 1000), text ? table_harmless(text) : "event");
	/* The cast: jansson's loop wants an object it may change. */
	json_object_foreach((json_t *)(uintptr_t)event, key, value)
	{
		CLEANUP_FREE char *shown = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

		if (strcmp(key, "type") != 0 && strcmp(key, "time_ms") != 0 && shown)
			(void)printf(" %s=%s", key, table_harmless(shown));
	}
	(void)printf("\n");
	(void)fflush(stdout);
}

static enum status print_events(struct invocation *invocation)
{
	bool is_followed = json_is_true(json_object_get(invocation->options, "follow"));
	enum status status;

	do {
		json_t *event;

		status = ask_event(invocation, ask_timeout_ms(invocation), &event);
		if (status != STATUS_OK)
			return status;
		if (invocation->is_json)
			ask_print_json(event);
		else
			print_event(event);
		json_decref(event);
	} while (is_followed);
	return status;
}

enum status verb_events(struct invocation *invocation)
{
	json_t *result;
	enum status status = ask(invocation, "events.subscribe", NULL, &result);

	if (status != STATUS_OK)
		return status;
	json_decref(result);
	return print_events(invocation);
}
