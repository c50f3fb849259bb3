/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One turn of a session
 *
 *   socket ──recvmsg, 4 KiB──► input ──lines──► rpc_parse ──► call ──► handler
 *   socket ◄──────send──────── output ◄──────── rpc_encode ◄──────── answer, now or later
 *
 * Invariants
 *  1. Between turns the input holds no whole line: what was read is handled at once, what was not
 *     read waits in the kernel, where epoll sees it. So nothing but epoll says who has work.
 *  2. Descriptors belong to the last line that has a byte in the read they came with: one recvmsg()
 *     never returns bytes behind a message that carried descriptors (unix_stream_read_generic()).
 *     `held` are those of the line in progress.
 *  3. A session that is over has its socket shut down; nothing is read, queued or written any more.
 *  4. armed_events is what epoll was told last; session_arm() is the only one to tell it.
 */
#include "ctl/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ctl/peer.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

#define SESSION_MAGIC 0x73657373u /* "sess" */

/* A buffer that held a long line or a burst gives its memory back when it is empty. */
#define KEEP_BYTES (64 * KIB)

static_assert(SESSION_OUTPUT_PAUSE_BYTES < SESSION_OUTPUT_BYTES_MAX);
static_assert(SESSION_READ_BYTES < SESSION_LINE_BYTES_MAX);
static_assert(SESSION_FDS_MAX <= 253, "SCM_MAX_FD: what the kernel takes in one message");

/* Bytes [first, used) are content. */
struct buffer {
	char *bytes;
	size_t first;
	size_t used;
	size_t capacity;
};

struct session {
	uint32_t magic;
	int fd;
	int epoll_fd; /* the server's */
	uint32_t armed_events;
	struct peer peer;
	bool is_subscribed;
	bool is_at_end; /* the client sends no more */
	bool is_over;
	struct buffer input;
	struct buffer output;
	struct fd_list held;
	uint64_t held_since_ns; /* when the first of them came */
	uint32_t call_count;
	struct call *calls[SESSION_CALLS_MAX]; /* NULL: a free slot */
};

void fd_list_close(struct fd_list *list)
{
	ASSERT(list->first <= list->count);
	for (uint32_t i = list->first; i < list->count; i++)
		close_fd(list->fds[i]);
	*list = (struct fd_list){0};
}

/* Moves all of @from behind what @to holds; what has no room there is closed. */
static void fd_list_append(struct fd_list *to, struct fd_list *from)
{
	ASSERT(to->first == 0);
	ASSERT(to->count <= SESSION_FDS_MAX && from->count <= SESSION_FDS_MAX);
	while (from->first < from->count && to->count < SESSION_FDS_MAX)
		to->fds[to->count++] = from->fds[from->first++];
	fd_list_close(from);
}

static size_t buffer_size(const struct buffer *buffer)
{
	ASSERT(buffer->first <= buffer->used);
	ASSERT(buffer->used <= buffer->capacity);
	return buffer->used - buffer->first;
}

/* Makes room for @size more bytes. */
static int buffer_reserve(struct buffer *buffer, size_t size)
{
	size_t capacity;
	char *bytes;

	if (buffer->first > 0) {
		memmove(buffer->bytes, buffer->bytes + buffer->first, buffer_size(buffer));
		buffer->used -= buffer->first;
		buffer->first = 0;
	}
	if (buffer->capacity - buffer->used >= size)
		return 0;
	capacity = MAX(buffer->used + size, 2 * buffer->capacity);
	bytes = realloc(buffer->bytes, capacity);
	if (!bytes)
		return -ENOMEM;
	buffer->bytes = bytes;
	buffer->capacity = capacity;
	ASSERT(buffer->capacity - buffer->used >= size);
	return 0;
}

static void buffer_consume(struct buffer *buffer, size_t size)
{
	ASSERT(size <= buffer_size(buffer));
	buffer->first += size;
	if (buffer->first < buffer->used)
		return;
	buffer->first = 0;
	buffer->used = 0;
	if (buffer->capacity > KEEP_BYTES) {
		free(take_pointer(&buffer->bytes));
		buffer->capacity = 0;
	}
}

static void session_check(const struct session *session)
{
	ASSERT(session);
	ASSERT(session->magic == SESSION_MAGIC);
}

static void session_arm(struct session *session)
{
	size_t unsent = buffer_size(&session->output);
	struct epoll_event event = {.data.ptr = session};

	if (!session->is_at_end && unsent <= SESSION_OUTPUT_PAUSE_BYTES)
		event.events |= EPOLLIN;
	if (unsent > 0)
		event.events |= EPOLLOUT;
	if (session->is_over || event.events == session->armed_events)
		return;
	/* Fails only for want of kernel memory at an ADD, never at a MOD. */
	/* @control epoll_ctl */
	if (epoll_ctl(session->epoll_fd, EPOLL_CTL_MOD, session->fd, &event) == 0)
		session->armed_events = event.events;
}

static void session_end(struct session *session)
{
	session->is_over = true;
	session->is_subscribed = false;
	(void)shutdown(session->fd, SHUT_RDWR); /* @control shutdown */
}

/* The client sends no more, and nothing is owed to it. */
static void end_when_done(struct session *session)
{
	if (session->is_at_end && session->call_count == 0 && buffer_size(&session->output) == 0)
		session_end(session);
}

int session_new(int fd, const struct peer *peer, int epoll_fd, struct session **ret_session)
{
	ASSERT(fd >= 0 && epoll_fd >= 0);
	struct session *session = calloc(1, sizeof(*session));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};
	/* @control epoll_ctl */
	int error = session ? errno_of(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) : -ENOMEM;

	if (error) {
		free(session);
		(void)close(fd);
		return error;
	}
	session->magic = SESSION_MAGIC;
	session->fd = fd;
	session->epoll_fd = epoll_fd;
	session->armed_events = event.events;
	session->peer = *peer;
	*ret_session = session;
	return 0;
}

void session_free(struct session *session)
{
	if (!session)
		return;
	session_check(session);
	for (uint32_t i = 0; i < SESSION_CALLS_MAX; i++)
		if (session->calls[i])
			call_orphan(session->calls[i]);
	fd_list_close(&session->held);
	free(session->input.bytes);
	free(session->output.bytes);
	/* By hand: a child of fork() that still holds the socket would keep it in the epoll set. */
	/* @control epoll_ctl */
	(void)epoll_ctl(session->epoll_fd, EPOLL_CTL_DEL, session->fd, NULL);
	(void)close(session->fd);
	session->magic = 0;
	free(session);
}

void session_flush(struct session *session)
{
	session_check(session);
	struct buffer *output = &session->output;

	while (!session->is_over && buffer_size(output) > 0) {
		/* @control sendto */
		ssize_t sent = send(session->fd, output->bytes + output->first, buffer_size(output),
			MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			break;
		if (sent < 0)
			session_end(session);
		else
			buffer_consume(output, (size_t)sent);
	}
	session_arm(session);
}

void session_send(struct session *session, const struct rpc_text *text)
{
	session_check(session);
	ASSERT(text->size > 0);
	struct buffer *output = &session->output;

	if (session->is_over)
		return;
	if (buffer_size(output) + text->size > SESSION_OUTPUT_BYTES_MAX ||
		buffer_reserve(output, text->size)) {
		session_end(session);
		return;
	}
	memcpy(output->bytes + output->used, text->text, text->size);
	output->used += text->size;
	ASSERT(buffer_size(output) <= SESSION_OUTPUT_BYTES_MAX);
	session_arm(session);
}

uint64_t session_deadline(const struct session *session)
{
	session_check(session);
	if (session->is_over || session->held.count == 0)
		return UINT64_MAX;
	return session->held_since_ns + SESSION_HOLD_NS;
}

bool session_holds_too_long(const struct session *session, uint64_t now_ns)
{
	return session_deadline(session) <= now_ns;
}

static void send_error(
	struct session *session, json_t *id, enum call_error code, const char *message)
{
	struct rpc_text text;

	if (rpc_encode_error(id, code, message, NULL, &text)) {
		session_end(session);
		return;
	}
	session_send(session, &text);
	free(text.text);
}

void session_refuse(struct session *session, enum call_error code, const char *message)
{
	session_check(session);

	send_error(session, NULL, code, message);
	session_flush(session);
	session_end(session);
}

bool session_is_subscribed(const struct session *session)
{
	session_check(session);
	return session->is_subscribed;
}

const struct peer *session_peer(const struct session *session)
{
	session_check(session);
	return &session->peer;
}

void session_subscribe(struct session *session)
{
	session_check(session);
	session->is_subscribed = !session->is_over;
}

void session_call_done(struct session *session, uint32_t slot)
{
	session_check(session);
	ASSERT(slot < SESSION_CALLS_MAX && session->calls[slot]);
	ASSERT(session->call_count > 0);
	session->calls[slot] = NULL;
	session->call_count--;
	end_when_done(session);
}

/* Steals @request and @fds. NULL, with the client told, when there can be no call. */
static struct call *begin_call(
	struct session *session, struct rpc_request *request, struct fd_list *fds)
{
	uint32_t slot = 0;
	struct call *call;

	ASSERT(session->call_count <= SESSION_CALLS_MAX);
	while (slot < SESSION_CALLS_MAX && session->calls[slot])
		slot++;
	if (slot == SESSION_CALLS_MAX) {
		if (rpc_wants_reply(request))
			send_error(session, request->id, CALL_BUSY,
				"too many calls of this client wait for their answers");
		return NULL;
	}
	call = call_new(session, slot, request, fds);
	if (!call) {
		session_refuse(session, CALL_INTERNAL_ERROR, "memory is short");
		return NULL;
	}
	/* What came with the request went into the call. */
	ASSERT(!request->root && fds->count == 0);
	session->calls[slot] = call;
	session->call_count++;
	return call;
}

/* A call that has been answered is gone, and with it its place among the calls. */
static bool is_waiting(const struct session *session, const struct call *call)
{
	for (uint32_t i = 0; i < SESSION_CALLS_MAX; i++)
		if (session->calls[i] == call)
			return true;
	return false;
}

struct receiver {
	server_handler *handler;
	void *context;
};

static void handle_line(struct session *session, const char *line, size_t size, struct fd_list *fds,
	const struct receiver *receiver)
{
	struct rpc_request request;
	struct rpc_problem problem;
	struct call *call = NULL;

	if (rpc_parse(line, size, &request, &problem))
		call = begin_call(session, &request, fds);
	else if (rpc_wants_reply(&request))
		send_error(session, request.id, problem.code, problem.message);
	rpc_request_done(&request);
	fd_list_close(fds);
	if (!call)
		return;
	receiver->handler(receiver->context, call);
	if (is_waiting(session, call))
		call_drop_fds(call);
}

static bool is_blank(const char *line, size_t size)
{
	return size == 0 || (size == 1 && line[0] == '\r');
}

/* Handles every whole line of the input; @fresh came with the last read. */
static void handle_lines(
	struct session *session, struct fd_list *fresh, const struct receiver *receiver)
{
	struct buffer *input = &session->input;

	while (!session->is_over && buffer_size(input) > 0) {
		const char *line = input->bytes + input->first;
		const char *end = memchr(line, '\n', buffer_size(input));
		size_t size;
		struct fd_list fds = session->held;

		if (!end)
			break;
		size = (size_t)(end - line);
		session->held = (struct fd_list){0};
		if (size + 1 == buffer_size(input))
			fd_list_append(&fds, fresh);
		if (is_blank(line, size))
			fd_list_close(&fds);
		else
			handle_line(session, line, size, &fds, receiver);
		buffer_consume(input, size + 1);
	}
	if (session->held.count == 0)
		session->held_since_ns = clock_ns();
	fd_list_append(&session->held, fresh);
	ASSERT(fresh->count == 0);
	if (buffer_size(input) > SESSION_LINE_BYTES_MAX)
		session_refuse(session, CALL_INVALID_REQUEST, "a line must not exceed 1 MiB");
}

/* A buffer that recvmsg() can put SESSION_FDS_MAX descriptors into; the kernel closes the surplus.
 */
union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(SESSION_FDS_MAX * sizeof(int))];
};

static void take_fds(struct msghdr *message, struct fd_list *ret_fds)
{
	*ret_fds = (struct fd_list){0};
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
		header = CMSG_NXTHDR(message, header)) {
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		ASSERT(ret_fds->count + count <= SESSION_FDS_MAX);
		memcpy(ret_fds->fds + ret_fds->count, CMSG_DATA(header), count * sizeof(int));
		ret_fds->count += (uint32_t)count;
	}
}

/* Reads once: bytes read, 0 at the end, -errno; -EAGAIN: nothing there. */
static ssize_t receive(struct session *session, struct fd_list *ret_fds)
{
	struct buffer *input = &session->input;
	union control control;
	struct iovec space;
	struct msghdr message = {.msg_iov = &space,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		/* Not CMSG_SPACE: its padding would let one descriptor more in. */
		.msg_controllen = CMSG_LEN(SESSION_FDS_MAX * sizeof(int))};
	ssize_t size = buffer_reserve(input, SESSION_READ_BYTES);

	if (size < 0)
		return size;
	space = (struct iovec){input->bytes + input->used, SESSION_READ_BYTES};
	/* @control recvmsg */
	size = errno_of(recvmsg(session->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
	if (size < 0)
		return size;
	ASSERT((size_t)size <= SESSION_READ_BYTES);
	input->used += (size_t)size;
	take_fds(&message, ret_fds);
	return size;
}

static void read_lines(struct session *session, const struct receiver *receiver)
{
	struct fd_list fresh = {0};
	ssize_t size;

	ASSERT(!session->is_over && !session->is_at_end);
	size = receive(session, &fresh);

	if (size == -EAGAIN || size == -EINTR)
		return;
	if (size < 0) {
		session_end(session);
		return;
	}
	if (size > 0) {
		handle_lines(session, &fresh, receiver);
		return;
	}
	session->is_at_end = true;
	if (buffer_size(&session->input) > 0)
		send_error(session, NULL, CALL_PARSE_ERROR, "the last line has no end");
}

bool session_step(struct session *session, uint32_t events, server_handler *handler, void *context)
{
	session_check(session);
	ASSERT(handler);
	const struct receiver receiver = {.handler = handler, .context = context};

	/* EPOLLHUP, too: what the client sent before it went is still in the socket. */
	if (!session->is_over && !session->is_at_end && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		read_lines(session, &receiver);
	session_flush(session);
	if (session->is_at_end && (events & (EPOLLHUP | EPOLLERR)))
		session_end(session);
	end_when_done(session);
	return !session->is_over;
}
