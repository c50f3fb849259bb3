/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the daemon, and what is said when it does not answer well. */
#ifndef VMSWAP_TOOLS_VMSWAPCTL_ASK_H
#define VMSWAP_TOOLS_VMSWAPCTL_ASK_H

#include "ctl/call.h"
#include "tools/vmswapctl/verb.h"

/* Waits as long as it takes. */
#define ASK_FOR_EVER (-1)

/* How long the verb may wait for one answer, in ms; ASK_FOR_EVER. */
int ask_timeout_ms(const struct invocation *invocation);

/*
 * One call, on a connection opened at the first. @params is stolen. ret_response: the whole
 * response, maybe an error. STATUS_FAILED when there was none; said on stderr.
 */
enum status ask_raw(struct invocation *invocation, const char *method, json_t *params,
	int timeout_ms, json_t **ret_response);
/* 0, or the code of the error in @response. */
int ask_error_code(const json_t *response);
/* Says what the daemon answered, with the next step; STATUS_FAILED. */
enum status ask_complain(const struct invocation *invocation, const json_t *response);

/* A call whose errors are all final: ret_result is the result. */
enum status ask(
	struct invocation *invocation, const char *method, json_t *params, json_t **ret_result);

/* The next event of a subscribed connection; false at the deadline. */
enum status ask_event(struct invocation *invocation, int timeout_ms, json_t **ret_event);

/* Prints one line of JSON. */
void ask_print_json(const json_t *value);

#endif
