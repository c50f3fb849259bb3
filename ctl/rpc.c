/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/rpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/err.h"

/* Latencies and fractions need no 17 digits; integers are not concerned. */
#define ENCODE_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(9))

static bool fail(struct rpc_problem *problem, enum call_error code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Always false, for the caller to return. */
static bool fail(struct rpc_problem *problem, enum call_error code, const char *format, ...)
{
	va_list arguments;

	ASSERT(problem);
	problem->code = code;
	va_start(arguments, format);
	(void)vsnprintf(problem->message, sizeof(problem->message), format, arguments);
	va_end(arguments);
	return false;
}

static bool take_id(json_t *id, struct rpc_request *request, struct rpc_problem *problem)
{
	if (id && !json_is_string(id) && !json_is_integer(id) && !json_is_null(id))
		return fail(
			problem, CALL_INVALID_REQUEST, "id must be a string, an integer or null");
	request->id = id;
	return true;
}

static bool take_params(json_t *params, struct rpc_request *request, struct rpc_problem *problem)
{
	if (!params) {
		params = json_object();
		if (!params || json_object_set_new(request->root, "params", params))
			return fail(problem, CALL_INTERNAL_ERROR, "memory is short");
	}
	if (!json_is_object(params))
		return fail(problem, CALL_INVALID_PARAMS, "params must be an object");
	request->params = params;
	return true;
}

static bool take_members(struct rpc_request *request, struct rpc_problem *problem)
{
	json_t *root = request->root;
	const char *version;
	const char *method;

	if (json_is_array(root))
		return fail(problem, CALL_INVALID_REQUEST,
			"batches are not supported: send one request a line");
	if (!json_is_object(root))
		return fail(problem, CALL_INVALID_REQUEST, "a request must be an object");
	if (!take_id(json_object_get(root, "id"), request, problem))
		return false;
	version = json_string_value(json_object_get(root, "jsonrpc"));
	if (!version || strcmp(version, "2.0") != 0)
		return fail(problem, CALL_INVALID_REQUEST, "jsonrpc must be \"2.0\"");
	method = json_string_value(json_object_get(root, "method"));
	if (!method)
		return fail(problem, CALL_INVALID_REQUEST, "method must be a string");
	request->method = method;
	return take_params(json_object_get(root, "params"), request, problem);
}

bool rpc_parse(const char *line, size_t size, struct rpc_request *ret_request,
	struct rpc_problem *ret_problem)
{
	ASSERT(line || size == 0);
	ASSERT(ret_request && ret_problem);
	const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
	json_error_t error;

	*ret_request = (struct rpc_request){.root = json_loadb(line, size, flags, &error)};
	if (!ret_request->root)
		return fail(ret_problem, CALL_PARSE_ERROR, "not JSON: %s, at byte %d", error.text,
			error.position);
	return take_members(ret_request, ret_problem);
}

void rpc_request_done(struct rpc_request *request)
{
	ASSERT(request);
	json_decref(request->root);
	*request = (struct rpc_request){0};
}

bool rpc_wants_reply(const struct rpc_request *request)
{
	ASSERT(request);
	/* Without a method it is no notification but garbage, and garbage is answered. */
	return request->id || !request->method;
}

/* Steals @message. */
static int encode(json_t *message, struct rpc_text *ret_text)
{
	size_t size = message ? json_dumpb(message, NULL, 0, ENCODE_FLAGS) : 0;
	CLEANUP_FREE char *text = size ? malloc(size + 1) : NULL;
	size_t written = text ? json_dumpb(message, text, size, ENCODE_FLAGS) : 0;

	json_decref(message);
	if (!text)
		return -ENOMEM;
	ASSERT(written == size);
	text[size] = '\n';
	*ret_text = (struct rpc_text){.text = take_pointer(&text), .size = size + 1};
	return 0;
}

/* A name out of /proc need not be UTF-8; what is not ASCII is then shown as '?'. */
static json_t *text_of(const char *message)
{
	json_t *text = json_string(message);
	char *copy = text ? NULL : strdup(message);

	for (char *byte = copy; byte && *byte; byte++)
		*byte = (unsigned char)*byte < 0x80 ? *byte : '?';
	if (copy)
		text = json_string(copy);
	free(copy);
	return text;
}

int rpc_encode_result(json_t *id, json_t *result, struct rpc_text *ret_text)
{
	ASSERT(result && ret_text);
	return encode(json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", id, "result", result),
		ret_text);
}

int rpc_encode_error(json_t *id, enum call_error code, const char *message, json_t *data,
	struct rpc_text *ret_text)
{
	ASSERT(message && ret_text);
	json_t *error = json_pack(
		"{s:i, s:o, s:o*}", "code", (int)code, "message", text_of(message), "data", data);

	return encode(json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", id, "error", error),
		ret_text);
}

int rpc_encode_event(json_t *event, struct rpc_text *ret_text)
{
	ASSERT(event && ret_text);
	return encode(
		json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", "event", "params", event),
		ret_text);
}
