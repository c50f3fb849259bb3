/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the control socket: reads lines, turns them into calls, queues and writes
 * replies. Control thread only; never blocks. A session that broke or came to its end shuts its
 * socket down, so that epoll reports EPOLLHUP and the server frees it in its own time.
 */
#ifndef VMSWAP_CTL_SESSION_H
#define VMSWAP_CTL_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/rpc.h"
#include "ctl/server.h"
#include "engine/limits.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"

/* A line holds one request; the largest, attach_self of REGIONS_MAX regions, is below 16 KiB. */
#define SESSION_LINE_BYTES_MAX MIB
/* One read a turn: about 100 small requests, so that no client delays the others by more. */
#define SESSION_READ_BYTES (4 * KIB)
/* Above this nothing more is read from a client: who does not read does not get to ask. */
#define SESSION_OUTPUT_PAUSE_BYTES MIB
/* What events and late replies may add to that before the client is given up. */
#define SESSION_OUTPUT_BYTES_MAX (4 * MIB)
/* Calls answered later (waits, attaches) of one client; a tool needs one or two. */
#define SESSION_CALLS_MAX 64u
/* What vm.attach_self may need: one uffd a shard, one memfd a region, one channel. */
#define SESSION_FDS_MAX (SHARDS_MAX + REGIONS_MAX + 1)

/*
 * Descriptors may wait so long for the end of their line. One of them may be the client's own end
 * of the connection: as long as we hold that, we never hear that the client has gone.
 */
#define SESSION_HOLD_NS (5 * NS_PER_S)

struct peer;
struct session;

/* Descriptors on their way to the request they came with; owned by the list. */
struct fd_list {
	uint32_t first; /* not yet taken: [first, count) */
	uint32_t count;
	int fds[SESSION_FDS_MAX];
};

void fd_list_close(struct fd_list *list);

/*
 * Takes over @fd (non-blocking), also on error, and adds it to @epoll_fd with itself as data. 0 or
 * -errno.
 */
int session_new(int fd, const struct peer *peer, int epoll_fd, struct session **ret_session);
/* Calls not yet answered stay with their answerers; their answers are dropped. NULL is fine. */
void session_free(struct session *session);

/*
 * One turn for the epoll @events: one read, its lines to @handler, one write. False when the
 * session is over and may be freed.
 */
bool session_step(struct session *session, uint32_t events, server_handler *handler, void *context);
/* Writes what the socket takes now. */
void session_flush(struct session *session);

/* Queues bytes; a client with too many unread ones is given up. */
void session_send(struct session *session, const struct rpc_text *text);
/* An error about the connection itself, then the end of it. */
void session_refuse(struct session *session, enum call_error code, const char *message);
bool session_is_subscribed(const struct session *session);
/* When a line with descriptors must have ended; UINT64_MAX: none is under way. */
uint64_t session_deadline(const struct session *session);
/* It has not. */
bool session_holds_too_long(const struct session *session, uint64_t now_ns);

/* What call.c needs of its session. */
const struct peer *session_peer(const struct session *session);
void session_subscribe(struct session *session);
/* The call in @slot has been answered. */
void session_call_done(struct session *session, uint32_t slot);

/*
 * And what a session needs of call.c. Steals the content of @request and @fds. NULL when memory is
 * short.
 */
struct call *call_new(
	struct session *session, uint32_t slot, struct rpc_request *request, struct fd_list *fds);
/* What its handler has not taken is not wanted; a call that waits holds none. */
void call_drop_fds(struct call *call);
/* Its client has gone. */
void call_orphan(struct call *call);

#endif
