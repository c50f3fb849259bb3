/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/peer.h"
#include "ctl/session.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

#define CALL_MAGIC 0x63616c6cu /* "call" */

struct call {
	uint32_t magic;
	uint32_t slot;		 /* in the session */
	struct session *session; /* NULL: the client has gone */
	struct peer peer;	 /* outlives the session */
	struct rpc_request request;
	struct fd_list fds;
};

static void call_check(const struct call *call)
{
	ASSERT(call);
	ASSERT(call->magic == CALL_MAGIC);
}

struct call *call_new(
	struct session *session, uint32_t slot, struct rpc_request *request, struct fd_list *fds)
{
	ASSERT(session && slot < SESSION_CALLS_MAX);
	ASSERT(request->method && request->params);
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->magic = CALL_MAGIC;
	call->slot = slot;
	call->session = session;
	call->peer = *session_peer(session);
	call->request = *request;
	call->fds = *fds;
	/* Their content is the call's now. */
	*request = (struct rpc_request){0};
	*fds = (struct fd_list){0};
	return call;
}

void call_orphan(struct call *call)
{
	call_check(call);
	ASSERT(call->session);
	call->session = NULL;
}

void call_drop_fds(struct call *call)
{
	call_check(call);
	fd_list_close(&call->fds);
}

static void call_free(struct call *call)
{
	if (call->session)
		session_call_done(call->session, call->slot);
	fd_list_close(&call->fds);
	rpc_request_done(&call->request);
	call->magic = 0;
	free(call);
}

const char *call_method(const struct call *call)
{
	call_check(call);
	return call->request.method;
}

json_t *call_params(const struct call *call)
{
	call_check(call);
	return call->request.params;
}

const struct peer *call_peer(const struct call *call)
{
	call_check(call);
	return &call->peer;
}

int call_take_fd(struct call *call)
{
	call_check(call);
	struct fd_list *list = &call->fds;

	ASSERT(list->first <= list->count);
	return list->first < list->count ? take_fd(&list->fds[list->first++]) : -1;
}

static bool is_answer_awaited(const struct call *call)
{
	return call->session && rpc_wants_reply(&call->request);
}

/* Steals @data. */
static void send_error(
	const struct call *call, enum call_error code, const char *message, json_t *data)
{
	struct rpc_text text;

	if (rpc_encode_error(call->request.id, code, message, data, &text)) {
		/* A reply that cannot be sent must not look like one that is still to come. */
		session_refuse(call->session, CALL_INTERNAL_ERROR, "memory is short");
		return;
	}
	session_send(call->session, &text);
	free(text.text);
}

/* Steals @result. */
static void send_result(const struct call *call, json_t *result)
{
	struct rpc_text text;

	if (!result || rpc_encode_result(call->request.id, result, &text)) {
		send_error(call, CALL_INTERNAL_ERROR, "the result could not be encoded", NULL);
		return;
	}
	session_send(call->session, &text);
	free(text.text);
}

void call_reply(struct call *call, json_t *result)
{
	call_check(call);

	if (is_answer_awaited(call))
		send_result(call, result);
	else
		json_decref(result);
	call_free(call);
}

void call_fail(struct call *call, enum call_error code, json_t *data, const char *format, ...)
{
	call_check(call);
	CLEANUP_FREE char *message = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&message, format, arguments) < 0)
		message = NULL;
	va_end(arguments);
	if (is_answer_awaited(call))
		send_error(call, code, message ? message : "memory is short", data);
	else
		json_decref(data);
	call_free(call);
}

void call_subscribe(struct call *call)
{
	call_check(call);

	if (call->session)
		session_subscribe(call->session);
}
