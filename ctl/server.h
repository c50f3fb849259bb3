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
/*
 * Goes on with the lock and the listener of a server that died, server_fds() of it; they stay the
 * caller's. Who connected meanwhile waits there. The socket keeps the mode and group that it has.
 */
int server_adopt(const struct server_config *config, const int fds[2], struct server **ret_server);
/* The lock and the listener: for somebody who keeps them open beyond this process's death. */
void server_fds(const struct server *server, int ret_fds[2]);
void server_close(struct server *server);

/* An epoll descriptor: readable when server_step() has work, but for what is due by the clock. */
int server_fd(const struct server *server);
/* When server_step() has work even if nothing is readable, by clock_ns(); UINT64_MAX: never. */
uint64_t server_deadline(const struct server *server);
/* Accepts, reads, handles and writes what is ready; bounded, never blocks. */
void server_step(struct server *server);

/* Sends {"jsonrpc":"2.0","method":"event","params":@event} to every subscriber; steals @event. */
void server_publish(struct server *server, json_t *event);

#endif
