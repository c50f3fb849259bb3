/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of a client, between the server that received it and whoever answers it. A call is
 * answered exactly once, now or later, by the control thread; if the client has gone meanwhile the
 * answer is dropped.
 */
#ifndef VMSWAP_CTL_CALL_H
#define VMSWAP_CTL_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct call;
struct peer;

/* JSON-RPC 2.0 errors, and ours. */
enum call_error {
	CALL_PARSE_ERROR = -32700,
	CALL_INVALID_REQUEST = -32600,
	CALL_METHOD_NOT_FOUND = -32601,
	CALL_INVALID_PARAMS = -32602,
	CALL_INTERNAL_ERROR = -32603,
	CALL_NOT_FOUND = -32000,     /* no such VM, job, process */
	CALL_ILLEGAL_STATE = -32001, /* the command is not legal in the VM's state */
	CALL_REFUSED = -32002,	     /* the target cannot be attached; data.reason says why */
	CALL_FAILED = -32003,	     /* tried and failed; data.errno */
	CALL_TIMEOUT = -32004,
	CALL_BUSY = -32005,
};

const char *call_method(const struct call *call);
/* Borrowed; an object, possibly empty. */
json_t *call_params(const struct call *call);
/* The client as it was when it connected. */
const struct peer *call_peer(const struct call *call);
/* Descriptors that came with the request (SCM_RIGHTS): taken by the caller one by one, -1 when none
 * is left. */
int call_take_fd(struct call *call);

/*
 * Answers; steals @result or @data. The call is gone afterwards. @data may be NULL: none. A NULL
 * @result (a json_pack() that failed) is answered with CALL_INTERNAL_ERROR; "nothing" is
 * json_object().
 */
void call_reply(struct call *call, json_t *result);
void call_fail(struct call *call, enum call_error code, json_t *data, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Makes the client's connection receive events (as notifications, method "event") from now on. */
void call_subscribe(struct call *call);

#endif
