/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswapctl/ask.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl/client/rpc_client.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "tools/vmswapctl/table.h"

enum status complain(
	const struct invocation *invocation, enum status status, const char *format, ...)
{
	ASSERT(invocation && status != STATUS_OK);
	const struct verb *verb = invocation->verb;
	CLEANUP_FREE char *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	if (invocation->held) {
		(void)snprintf(invocation->held->text, sizeof(invocation->held->text), "%s",
			text ? text : "out of memory");
		return status;
	}
	(void)fprintf(stderr, "vmswapctl: %s%s%s\n", verb ? verb->name : "", verb ? ": " : "",
		text ? table_harmless(text) : "out of memory");
	if (status == STATUS_MISUSE)
		(void)fprintf(stderr, "See: vmswapctl help%s%s\n", verb ? " " : "",
			verb ? verb->name : "");
	return status;
}

int ask_timeout_ms(const struct invocation *invocation)
{
	ASSERT(invocation->verb);
	if (invocation->timeout_s > 0)
		return (int)fmin(ceil(invocation->timeout_s * 1000), INT32_MAX);
	return invocation->verb->timeout_s > 0 ? invocation->verb->timeout_s * 1000 : ASK_FOR_EVER;
}

static enum status cannot_connect(const struct invocation *invocation, int error)
{
	const char *socket = invocation->socket;

	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED:
		return complain(invocation, STATUS_FAILED,
			"no daemon answers at %s (%s). Start it with: vmswapd --socket %s, or name "
			"its "
			"socket with --socket",
			socket, strerror(-error), socket);
	case -EACCES:
	case -EPERM:
		return complain(invocation, STATUS_FAILED,
			"may not open %s. Run this as root or as the user of the daemon", socket);
	default:
		return complain(invocation, STATUS_FAILED, "cannot connect to %s: %s", socket,
			strerror(-error));
	}
}

static enum status connect_once(struct invocation *invocation)
{
	int error;

	if (invocation->client)
		return STATUS_OK;
	error = rpc_client_open(invocation->socket, &invocation->client);
	return error ? cannot_connect(invocation, error) : STATUS_OK;
}

static enum status no_answer(const struct invocation *invocation, int error)
{
	switch (error) {
	case -ETIMEDOUT:
		return complain(invocation, STATUS_FAILED,
			"no answer in time; the daemon may still be at it. See: vmswapctl list");
	case -ECONNRESET:
		return complain(invocation, STATUS_FAILED,
			"the daemon at %s closed the connection; its log says why",
			invocation->socket);
	case -EPROTO:
		return complain(invocation, STATUS_FAILED,
			"what answers at %s does not speak the protocol of vmswapd",
			invocation->socket);
	default:
		return complain(invocation, STATUS_FAILED, "talking to %s: %s", invocation->socket,
			strerror(-error));
	}
}

enum status ask_raw(struct invocation *invocation, const char *method, json_t *params,
	int timeout_ms, json_t **ret_response)
{
	ASSERT(invocation && method && ret_response);
	enum status status = connect_once(invocation);
	int error;

	if (status != STATUS_OK) {
		json_decref(params);
		return status;
	}
	error = rpc_client_call(
		invocation->client, method, params, NULL, 0, timeout_ms, ret_response);
	return error ? no_answer(invocation, error) : STATUS_OK;
}

int ask_error_code(const json_t *response)
{
	ASSERT(response);
	const json_t *error = json_object_get(response, "error");

	if (!error)
		return 0;
	return json_integer_value(json_object_get(error, "code")) != 0
		       ? (int)json_integer_value(json_object_get(error, "code"))
		       : CALL_INTERNAL_ERROR;
}

static bool is_debugging(const struct verb *verb)
{
	return verb->run == verb_record_start || verb->run == verb_record_stop;
}

/* What the user can do about an error, where the code and the verb's argument tell. */
static const char *next_step(const struct verb *verb, int code)
{
	bool is_about_vm = strstr(verb->arguments, "VM") != NULL;

	switch (code) {
	case CALL_NOT_FOUND: return is_about_vm ? ". See: vmswapctl list" : "";
	case CALL_ILLEGAL_STATE: return ". See: vmswapctl status";
	case CALL_BUSY: return ". Try again later";
	case CALL_METHOD_NOT_FOUND:
		/* The daemon says itself which option gives it the debugging ones. */
		return is_debugging(verb) ? "" : ". The daemon is of another version";
	default: return "";
	}
}

enum status ask_complain(const struct invocation *invocation, const json_t *response)
{
	const json_t *error = json_object_get(response, "error");
	const char *message = json_string_value(json_object_get(error, "message"));

	ASSERT(error);
	if (invocation->is_json) {
		json_t *line = json_pack("{s:O}", "error", error);

		ask_print_json(line);
		json_decref(line);
	}
	return complain(invocation, STATUS_FAILED, "%s%s", message ? message : "failed",
		next_step(invocation->verb, ask_error_code(response)));
}

enum status ask(
	struct invocation *invocation, const char *method, json_t *params, json_t **ret_result)
{
	json_t *response;
	enum status status =
		ask_raw(invocation, method, params, ask_timeout_ms(invocation), &response);

	if (status != STATUS_OK)
		return status;
	if (ask_error_code(response) != 0)
		status = ask_complain(invocation, response);
	else if (!json_object_get(response, "result"))
		status = no_answer(invocation, -EPROTO);
	else
		*ret_result = json_incref(json_object_get(response, "result"));
	json_decref(response);
	return status;
}

enum status ask_event(struct invocation *invocation, int timeout_ms, json_t **ret_event)
{
	ASSERT(invocation->client && ret_event);
	int error = rpc_client_next_event(invocation->client, timeout_ms, ret_event);

	if (error == -ETIMEDOUT)
		return complain(invocation, STATUS_FAILED, "no event came in time");
	return error ? no_answer(invocation, error) : STATUS_OK;
}

void ask_print_json(const json_t *value)
{
	CLEANUP_FREE char *text =
		json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));

	(void)puts(text ? text : "null");
	(void)fflush(stdout);
}
