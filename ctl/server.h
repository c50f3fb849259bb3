/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: JSON-RPC 2.0 over a Unix stream socket, one object a line. Runs on the
 * control thread, never blocks: a client that is slow, silent, malformed or gone costs others
 * nothing.
 */
#ifndef VMSWAP_CTL_SERVER_H
#define VMSWAP_CTL_SERVER_H

#include <jansson.h>
#include <stdint.h>

#include "ctl/peer.h"

struct call;
struct server;

/* Receives each well-formed request; owns the call. */
typedef void server_handler(void *context, struct call *call);

struct server_config {
	const char *path;	   /* of the socket; copied */
	struct peer_policy policy; /* who is let in */
	server_handler *handler;
	void *context; /* of the handler */
};

/*
 * Binds the socket, with the mode and group of the policy. A stale one (nobody answers) is
 * replaced; -EADDRINUSE when a daemon answers. The handler has to look at what its caller may do.
 */
int server_open(const struct server_config *config, struct server **ret_server);
void server_close(struct server *server);

/* An epoll descriptor: readable when server_step() has work. */
int server_fd(const struct server *server);
/* Accepts, reads, handles and writes what is ready; bounded, never blocks. */
void server_step(struct server *server);

/* Sends {"jsonrpc":"2.0","method":"event","params":@event} to every subscriber; steals @event. */
void server_publish(struct server *server, json_t *event);

#endif
