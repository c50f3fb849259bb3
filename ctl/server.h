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

struct call;
struct server;

/* Receives each well-formed request; owns the call. */
typedef void server_handler(void *context, struct call *call);

/*
 * Binds @path, mode 0600. A stale socket (nobody answers) is replaced; -EADDRINUSE when a daemon
 * answers. Only root and the daemon's uid are let in.
 */
int server_open(
	const char *path, server_handler *handler, void *context, struct server **ret_server);
/*
 * Goes on with the lock and the listener of a server that died, server_fds() of it; they stay the
 * caller's. Who connected meanwhile waits there.
 */
int server_adopt(const char *path, const int fds[2], server_handler *handler, void *context,
	struct server **ret_server);
/* The lock and the listener: for somebody who keeps them open beyond this process's death. */
void server_fds(const struct server *server, int ret_fds[2]);
void server_close(struct server *server);

/* An epoll descriptor: readable when server_step() has work. */
int server_fd(const struct server *server);
/* Accepts, reads, handles and writes what is ready; bounded, never blocks. */
void server_step(struct server *server);

/* Sends {"jsonrpc":"2.0","method":"event","params":@event} to every subscriber; steals @event. */
void server_publish(struct server *server, json_t *event);

#endif
