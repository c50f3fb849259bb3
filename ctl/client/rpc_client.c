/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/client/rpc_client.h"

#include <errno.h>
#include <poll.h>
#include <stdalign.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* The longest line taken from a daemon: a list of 256 VMs with all their counters fits well. */
#define LINE_BYTES_MAX (16 * MIB)
#define READ_BYTES     (64 * KIB)
/* Events kept while a call waits; the oldest goes first, as a slow reader's would. */
#define EVENTS_MAX 4096u
/* Unix sockets block in connect(2) while the daemon's backlog is full. */
#define CONNECT_TIMEOUT_S 5

struct rpc_client {
	int fd;
	json_int_t last_id;
	json_t *events; /* array, oldest first */
	char *line;	/* bytes received and not yet parsed */
	size_t used;
	size_t capacity;
};

/* Where a wait ends; UINT64_MAX: never. */
static uint64_t deadline_of(int timeout_ms)
{
	if (timeout_ms < 0)
		return UINT64_MAX;
	uint64_t wait_ms = (uint64_t)timeout_ms;

	return clock_ns() + wait_ms * NS_PER_MS;
}

/* Waits until @events or the deadline. */
static int wait_for(const struct rpc_client *client, short events, uint64_t deadline_ns)
{
	struct pollfd poll_fd = {.fd = client->fd, .events = events};
	int ready;

	do {
		uint64_t now_ns = clock_ns();
		uint64_t left_ms =
			deadline_ns > now_ns ? (deadline_ns - now_ns) / NS_PER_MS + 1 : 0;

		if (deadline_ns == UINT64_MAX)
			ready = poll(&poll_fd, 1, -1);
		else
			ready = poll(&poll_fd, 1, (int)MIN(left_ms, (uint64_t)INT32_MAX));
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return -errno;
	return ready == 0 ? -ETIMEDOUT : 0;
}

static int connect_to(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval timeout = {.tv_sec = CONNECT_TIMEOUT_S};
	CLEANUP_FD int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

int rpc_client_open(const char *path, struct rpc_client **ret_client)
{
	ASSERT(path);
	struct rpc_client *client = calloc(1, sizeof(*client));
	int error;

	if (!client)
		return -ENOMEM;
	client->fd = -1;
	client->events = json_array();
	error = client->events ? connect_to(path, &client->fd) : -ENOMEM;
	if (error) {
		rpc_client_close(client);
		return error;
	}
	*ret_client = client;
	return 0;
}

void rpc_client_close(struct rpc_client *client)
{
	if (!client)
		return;
	close_fd(client->fd);
	json_decref(client->events);
	free(client->line);
	free(client);
}

/* Descriptors travel with the first byte that is sent. */
static ssize_t send_some(int fd, struct iovec *rest, const int *fds, uint32_t fd_count)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(RPC_FDS_MAX * sizeof(int))] = {0};
	struct msghdr message = {.msg_iov = rest, .msg_iovlen = 1};

	ASSERT(fd_count <= RPC_FDS_MAX);
	if (fd_count > 0) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);

		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int send_all(const struct rpc_client *client, char *text, const int *fds, uint32_t fd_count,
	uint64_t deadline_ns)
{
	struct iovec rest = {.iov_base = text, .iov_len = strlen(text)};

	while (rest.iov_len > 0) {
		int error = wait_for(client, POLLOUT, deadline_ns);
		ssize_t sent;

		if (error)
			return error;
		sent = send_some(client->fd, &rest, fds, fd_count);
		if (sent < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (sent < 0)
			return errno == EPIPE ? -ECONNRESET : -errno;
		rest.iov_base = (char *)rest.iov_base + sent;
		rest.iov_len -= (size_t)sent;
		fd_count = 0;
	}
	return 0;
}

/* One request line; NULL when memory is short. Steals @params. */
static char *request_text(json_int_t id, const char *method, json_t *params)
{
	json_t *request =
		json_pack("{s:s, s:I, s:s}", "jsonrpc", "2.0", "id", id, "method", method);
	size_t size;
	char *text = NULL;

	if (!request || (params && json_object_set(request, "params", params)))
		goto out;
	/* Twice: the first tells the size; one byte for the line's end, one for the string's. */
	size = json_dumpb(request, NULL, 0, JSON_COMPACT);
	text = calloc(1, size + 2);
	if (text) {
		(void)json_dumpb(request, text, size, JSON_COMPACT);
		text[size] = '\n';
	}
out:
	json_decref(request);
	json_decref(params);
	return text;
}

static int receive(struct rpc_client *client, uint64_t deadline_ns)
{
	int error = wait_for(client, POLLIN, deadline_ns);
	ssize_t got;

	if (error)
		return error;
	if (client->capacity - client->used < READ_BYTES) {
		size_t capacity = client->capacity + READ_BYTES + client->capacity / 2;
		char *line = client->used > LINE_BYTES_MAX ? NULL : realloc(client->line, capacity);

		if (!line)
			return client->used > LINE_BYTES_MAX ? -EPROTO : -ENOMEM;
		client->line = line;
		client->capacity = capacity;
	}
	got = recv(client->fd, client->line + client->used, READ_BYTES, MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	client->used += (size_t)got;
	return got == 0 ? -ECONNRESET : 0;
}

/* Takes the next whole line out of what was received: 0, -EAGAIN when none is there, -EPROTO. */
static int parse_line(struct rpc_client *client, json_t **ret_message)
{
	char *end = client->used ? memchr(client->line, '\n', client->used) : NULL;
	size_t size;
	json_t *message;

	if (!end)
		return -EAGAIN;
	size = (size_t)(end - client->line) + 1;
	message = json_loadb(client->line, size, JSON_REJECT_DUPLICATES, NULL);
	memmove(client->line, client->line + size, client->used - size);
	client->used -= size;
	if (!json_is_object(message)) {
		json_decref(message);
		return -EPROTO;
	}
	*ret_message = message;
	return 0;
}

static int next_message(struct rpc_client *client, uint64_t deadline_ns, json_t **ret_message)
{
	int error = parse_line(client, ret_message);

	while (error == -EAGAIN) {
		error = receive(client, deadline_ns);
		if (error)
			return error;
		error = parse_line(client, ret_message);
	}
	return error;
}

static bool is_event(const json_t *message)
{
	const char *method = json_string_value(json_object_get(message, "method"));

	return method && strcmp(method, "event") == 0;
}

/* Steals @message. */
static void keep_event(struct rpc_client *client, json_t *message)
{
	if (json_array_size(client->events) >= EVENTS_MAX)
		(void)json_array_remove(client->events, 0);
	(void)json_array_append(client->events, json_object_get(message, "params"));
	json_decref(message);
}

/* The answer to @id; an answer with a null id is the daemon's word on a line it could not read. */
static bool is_answer(const json_t *message, json_int_t id)
{
	const json_t *answered = json_object_get(message, "id");

	if (json_is_null(answered))
		return json_object_get(message, "error") != NULL;
	return json_is_integer(answered) && json_integer_value(answered) == id;
}

static int wait_answer(
	struct rpc_client *client, json_int_t id, uint64_t deadline_ns, json_t **ret_response)
{
	for (;;) {
		json_t *message;
		int error = next_message(client, deadline_ns, &message);

		if (error)
			return error;
		if (is_answer(message, id)) {
			*ret_response = message;
			return 0;
		}
		if (is_event(message))
			keep_event(client, message);
		else
			json_decref(message); /* the late answer to a call that timed out */
	}
}

/* NOLINTNEXTLINE(readability-function-size): a request and its answer, whole */
int rpc_client_call(struct rpc_client *client, const char *method, json_t *params, const int *fds,
	uint32_t fd_count, int timeout_ms, json_t **ret_response)
{
	ASSERT(client && method);
	ASSERT(fd_count <= RPC_FDS_MAX);
	uint64_t deadline_ns = deadline_of(timeout_ms);
	json_int_t id = ++client->last_id;
	char *text = request_text(id, method, params);
	int error;

	if (!text)
		return -ENOMEM;
	error = send_all(client, text, fds, fd_count, deadline_ns);
	free(text);
	/* A daemon that turns a client away says why before it closes: read on. */
	if (error && error != -ECONNRESET && error != -EPIPE)
		return error;
	return wait_answer(client, id, deadline_ns, ret_response);
}

int rpc_client_next_event(struct rpc_client *client, int timeout_ms, json_t **ret_event)
{
	ASSERT(client && ret_event);
	uint64_t deadline_ns = deadline_of(timeout_ms);

	while (json_array_size(client->events) == 0) {
		json_t *message;
		int error = next_message(client, deadline_ns, &message);

		if (error)
			return error;
		if (is_event(message))
			keep_event(client, message);
		else
			json_decref(message);
	}
	*ret_event = json_incref(json_array_get(client->events, 0));
	(void)json_array_remove(client->events, 0);
	return 0;
}
