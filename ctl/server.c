/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread, one epoll set: the listening socket (data NULL) and the sessions (data: themselves).
 *
 * Who owns PATH: a daemon holds flock() on PATH.lock as long as it lives, so of two daemons that
 * start at the same moment one gets it and the other -EADDRINUSE; the kernel drops the lock when
 * the holder dies, however. Under the lock a socket that is found is asked (connect) before it is
 * replaced, in case somebody removed the lock file of a daemon that lives. The lock file is never
 * removed: a second daemon could lock the removed one while a third locks a new one.
 */
#include "ctl/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "ctl/session.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

/* Tools open one each, for a moment; what leaks connections must not take our descriptors. */
#define CONNECTIONS_MAX 256u
/* Above this only administrators get in: readers and owners cannot lock them out. */
#define CONNECTIONS_OF_OTHERS_MAX 192u
/* Newcomers a turn, so that a storm of them leaves time for the others. */
#define ACCEPTS_A_STEP 16u
/* Every session may come up in one turn. */
#define EVENTS_A_STEP (CONNECTIONS_MAX + 1)
/* The kernel queues these for us between turns; more have to wait in connect(2). */
#define BACKLOG 64

struct server {
	struct sockaddr_un address;
	struct peer_policy policy;
	server_handler *handler;
	void *context;
	int lock_fd;
	int listen_fd;
	int epoll_fd;
	int spare_fd; /* given up for a moment to turn newcomers away when descriptors run out */
	bool is_bound;
	uint32_t session_count;
	struct session *sessions[CONNECTIONS_MAX]; /* the first session_count */
};

static int take_lock(struct server *server)
{
	ASSERT(server->lock_fd < 0);
	char path[sizeof(server->address.sun_path) + sizeof(".lock")];

	(void)snprintf(path, sizeof(path), "%s.lock", server->address.sun_path);
	server->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (server->lock_fd < 0)
		return -errno;
	if (flock(server->lock_fd, LOCK_EX | LOCK_NB) < 0) /* @unfiltered flock */
		return errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
	return 0;
}

/* 1: somebody answers at the address, 0: nobody, -errno. */
static int probe(const struct sockaddr_un *address)
{
	/* @unfiltered socket */
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* @unfiltered connect */
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return 1;
	if (errno == EAGAIN) /* its backlog is full, so it has one */
		return 1;
	return errno == ECONNREFUSED || errno == ENOENT ? 0 : -errno;
}

/* Under the lock: makes way for our socket, if what is there is a socket that nobody answers. */
static int remove_stale(const struct sockaddr_un *address)
{
	struct stat found;
	int answers;

	if (lstat(address->sun_path, &found) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(found.st_mode))
		return -EEXIST;
	answers = probe(address);
	if (answers != 0)
		return answers > 0 ? -EADDRINUSE : answers;
	return errno_of(unlink(address->sun_path)); /* @unfiltered unlink */
}

/* Group first: the mode must not open the socket to the group that it had. Nobody listens yet. */
static int open_to_others(const struct server *server)
{
	const char *path = server->address.sun_path;
	mode_t mode = peer_socket_mode(&server->policy);

	if (mode == 0600)
		return 0;
	if (server->policy.group != PEER_NO_GROUP &&
		lchown(path, (uid_t)-1, server->policy.group) < 0) /* @unfiltered lchown */
		return -errno;
	/* @unfiltered fchmodat */
	return errno_of(fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW));
}

static int watch_listener(struct server *server)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

	/* @unfiltered epoll_ctl */
	return errno_of(epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &event));
}

static int listen_at(struct server *server)
{
	ASSERT(server->lock_fd >= 0 && server->epoll_fd >= 0);
	const struct sockaddr *address = (const struct sockaddr *)&server->address;
	int error;

	/* @unfiltered socket */
	server->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (server->listen_fd < 0)
		return -errno;
	/* bind() gives the file the mode of the socket: at no moment others may connect. */
	if (fchmod(server->listen_fd, 0600) < 0) /* @unfiltered fchmod */
		return -errno;
	if (bind(server->listen_fd, address, sizeof(server->address)) < 0) /* @unfiltered bind */
		return -errno;
	server->is_bound = true;
	error = open_to_others(server);
	if (error)
		return error;
	if (listen(server->listen_fd, BACKLOG) < 0) /* @unfiltered listen */
		return -errno;
	return watch_listener(server);
}

static int open_descriptors(struct server *server)
{
	int error;

	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (server->spare_fd < 0)
		return -errno;
	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC); /* @unfiltered epoll_create1 */
	if (server->epoll_fd < 0)
		return -errno;
	if (server->is_bound) /* adopted */
		return watch_listener(server);
	error = take_lock(server);
	if (error)
		return error;
	error = remove_stale(&server->address);
	if (error)
		return error;
	return listen_at(server);
}

static int new_server(const struct server_config *config, struct server **ret_server)
{
	ASSERT(config->path && config->handler);
	ASSERT(ret_server);
	const char *path = config->path;
	struct server *server;

	if (path[0] == '\0') /* bind() would choose an abstract name */
		return -EINVAL;
	if (strlen(path) >= sizeof(server->address.sun_path))
		return -ENAMETOOLONG;
	server = calloc(1, sizeof(*server));
	if (!server)
		return -ENOMEM;
	server->address.sun_family = AF_UNIX;
	memcpy(server->address.sun_path, path, strlen(path) + 1);
	server->policy = config->policy;
	server->handler = config->handler;
	server->context = config->context;
	server->lock_fd = server->listen_fd = server->epoll_fd = server->spare_fd = -1;
	*ret_server = server;
	return 0;
}

int server_open(const struct server_config *config, struct server **ret_server)
{
	struct server *server;
	int error = new_server(config, &server);

	if (error)
		return error;
	error = open_descriptors(server);
	if (error) {
		server_close(server);
		return error;
	}
	*ret_server = server;
	return 0;
}

int server_adopt(const struct server_config *config, const int fds[2], struct server **ret_server)
{
	struct server *server;
	int error = new_server(config, &server);

	if (error)
		return error;
	server->lock_fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	server->listen_fd = fcntl(fds[1], F_DUPFD_CLOEXEC, 0);
	server->is_bound = true;
	error = server->lock_fd < 0 || server->listen_fd < 0 ? -EMFILE : open_descriptors(server);
	if (error) {
		server->is_bound = false; /* the next one may have more luck */
		server_close(server);
		return error;
	}
	*ret_server = server;
	return 0;
}

void server_fds(const struct server *server, int ret_fds[2])
{
	ret_fds[0] = server->lock_fd;
	ret_fds[1] = server->listen_fd;
}

void server_close(struct server *server)
{
	if (!server)
		return;
	for (uint32_t i = 0; i < server->session_count; i++) {
		session_flush(server->sessions[i]);
		session_free(server->sessions[i]);
	}
	if (server->is_bound)
		(void)unlink(server->address.sun_path); /* @control unlink */
	close_fd(server->listen_fd);
	close_fd(server->epoll_fd);
	close_fd(server->spare_fd);
	close_fd(server->lock_fd);
	free(server);
}

int server_fd(const struct server *server)
{
	ASSERT(server && server->epoll_fd >= 0);
	return server->epoll_fd;
}

uint64_t server_deadline(const struct server *server)
{
	ASSERT(server);
	uint64_t deadline_ns = UINT64_MAX;

	for (uint32_t i = 0; i < server->session_count; i++)
		deadline_ns = MIN(deadline_ns, session_deadline(server->sessions[i]));
	return deadline_ns;
}

/* NULL, or why the newcomer is turned away. */
static const char *refusal(
	const struct server *server, const struct peer *peer, enum call_error *ret_code)
{
	bool is_admin = peer_may(peer, RIGHT_ADMIN);

	if (peer->rights == 0) {
		*ret_code = CALL_REFUSED;
		return "only root, the user of the daemon and those it was told to let in may "
		       "speak to it";
	}
	if (server->session_count == CONNECTIONS_MAX ||
		(!is_admin && server->session_count >= CONNECTIONS_OF_OTHERS_MAX)) {
		*ret_code = CALL_BUSY;
		return "the daemon has too many connections";
	}
	return NULL;
}

/* Tells the newcomer and closes; its socket is empty, so a short line always fits. */
static void turn_away(int fd, enum call_error code, const char *message)
{
	json_t *data = code == CALL_REFUSED ? json_pack("{s:s}", "reason", "peer-uid") : NULL;
	struct rpc_text text;

	if (rpc_encode_error(NULL, code, message, data, &text) == 0) {
		/* @control sendto */
		(void)send(fd, text.text, text.size, MSG_NOSIGNAL | MSG_DONTWAIT);
		free(text.text);
	}
	(void)close(fd);
}

static void admit(struct server *server, int fd)
{
	ASSERT(fd >= 0);
	ASSERT(server->session_count <= CONNECTIONS_MAX);
	struct peer peer;
	enum call_error code;
	const char *message;

	if (peer_read(fd, &server->policy, &peer) < 0) {
		(void)close(fd);
		return;
	}
	message = refusal(server, &peer, &code);
	if (message) {
		log_debug("connection of pid %d, uid %u turned away: %s", (int)peer.pid,
			(unsigned)peer.uid, message);
		turn_away(fd, code, message);
		return;
	}
	if (session_new(fd, &peer, server->epoll_fd, &server->sessions[server->session_count]) == 0)
		server->session_count++;
}

/* Without a descriptor to accept with, the newcomer would keep epoll awake for ever. */
static void turn_away_with_spare(struct server *server)
{
	int fd;

	close_fd(take_fd(&server->spare_fd));
	fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC); /* @control accept4 */
	if (fd >= 0)
		turn_away(fd, CALL_BUSY, "the daemon is out of file descriptors");
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void accept_some(struct server *server)
{
	for (uint32_t i = 0; i < ACCEPTS_A_STEP; i++) {
		/* @control accept4 */
		int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			admit(server, fd);
		else if (errno == EMFILE || errno == ENFILE)
			turn_away_with_spare(server);
		else
			return;
	}
}

static void drop(struct server *server, struct session *session)
{
	uint32_t i = 0;

	while (i < server->session_count && server->sessions[i] != session)
		i++;
	ASSERT(i < server->session_count);
	server->sessions[i] = server->sessions[--server->session_count];
	server->sessions[server->session_count] = NULL;
	session_free(session);
}

/* Those are dropped in the next turn: epoll reports the end of what is refused. */
static void refuse_holders(struct server *server)
{
	const uint64_t now_ns = clock_ns();

	for (uint32_t i = 0; i < server->session_count; i++)
		if (session_holds_too_long(server->sessions[i], now_ns))
			session_refuse(server->sessions[i], CALL_INVALID_REQUEST,
				"a line with descriptors must end within 5 s");
}

void server_step(struct server *server)
{
	ASSERT(server);
	struct epoll_event events[EVENTS_A_STEP];
	/* @control epoll_wait */
	int count = epoll_wait(server->epoll_fd, events, (int)EVENTS_A_STEP, 0);

	for (int i = 0; i < count; i++) {
		struct session *session = events[i].data.ptr;

		if (!session)
			accept_some(server);
		else if (!session_step(session, events[i].events, server->handler, server->context))
			drop(server, session);
	}
	refuse_holders(server);
}

void server_publish(struct server *server, json_t *event)
{
	ASSERT(server);
	struct rpc_text text;

	/* NULL: a json_pack() that failed, for want of memory or for a name that is not UTF-8. */
	if (!event || rpc_encode_event(event, &text)) {
		log_error("an event could not be encoded and was dropped");
		return;
	}
	for (uint32_t i = 0; i < server->session_count; i++)
		if (session_is_subscribed(server->sessions[i]))
			session_send(server->sessions[i], &text);
	free(text.text);
}
