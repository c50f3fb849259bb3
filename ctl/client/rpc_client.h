/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of the control socket: JSON-RPC 2.0, one object a line. One call at a time, each
 * wait with a bound. Not thread-safe; used by tools, never by the daemon.
 */
#ifndef VMSWAP_CTL_CLIENT_RPC_CLIENT_H
#define VMSWAP_CTL_CLIENT_RPC_CLIENT_H

#include <jansson.h>
#include <stdint.h>

#define RPC_SOCKET_DEFAULT "/run/vmswapd.sock"
/* The kernel takes no more descriptors in one message (SCM_MAX_FD). */
#define RPC_FDS_MAX 253u

struct rpc_client;

/* -errno of connect(2): -ENOENT or -ECONNREFUSED when no daemon is there, -EACCES, -ENAMETOOLONG…
 */
int rpc_client_open(const char *path, struct rpc_client **ret_client);
/* NULL is fine. */
void rpc_client_close(struct rpc_client *client);

/*
 * Sends @method with @params (stolen, also on error; NULL: none) and @fds (still the caller's), and
 * waits for its answer: the whole response object, with "result" or "error". Events that come
 * meanwhile are kept for rpc_client_next_event(). A negative @timeout_ms waits for ever. -ETIMEDOUT
 * (a late answer is dropped when it comes), -ECONNRESET: the daemon closed, -EPROTO: not JSON-RPC,
 * -errno.
 */
int rpc_client_call(struct rpc_client *client, const char *method, json_t *params, const int *fds,
	uint32_t fd_count, int timeout_ms, json_t **ret_response);

/* The "params" of the next event; -errno as above. */
int rpc_client_next_event(struct rpc_client *client, int timeout_ms, json_t **ret_event);

#endif
