/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON-RPC 2.0 lines: text in, a request out; a reply in, text out. Pure functions; the protocol is
 * described in ctl/README.md.
 */
#ifndef VMSWAP_CTL_RPC_H
#define VMSWAP_CTL_RPC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "ctl/call.h"

struct rpc_request {
	json_t *root;	    /* owns all that follows */
	const char *method; /* NULL when the line was no request */
	json_t *params;	    /* an object, possibly empty */
	json_t *id;	    /* string, integer or null; NULL: a notification */
};

#define RPC_MESSAGE_BYTES 256

/* Why a line is no request we serve. */
struct rpc_problem {
	enum call_error code;
	char message[RPC_MESSAGE_BYTES];
};

/* A line to send, with its end; free() the text. */
struct rpc_text {
	char *text;
	size_t size;
};

/*
 * Parses one line, without its end. False when it is not a request: @ret_problem says why, and
 * @ret_request holds what is known of it, so that the reply carries its id. rpc_request_done()
 * either way.
 */
bool rpc_parse(const char *line, size_t size, struct rpc_request *ret_request,
	struct rpc_problem *ret_problem);
void rpc_request_done(struct rpc_request *request);
/* Is a reply due? A notification gets none, also when it fails. */
bool rpc_wants_reply(const struct rpc_request *request);

/* Encode one line; steal @result, @data and @event. @id NULL: null. 0 or -ENOMEM. */
int rpc_encode_result(json_t *id, json_t *result, struct rpc_text *ret_text);
int rpc_encode_error(json_t *id, enum call_error code, const char *message, json_t *data,
	struct rpc_text *ret_text);
int rpc_encode_event(json_t *event, struct rpc_text *ret_text);

#endif
