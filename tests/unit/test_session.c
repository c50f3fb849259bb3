/* SPDX-License-Identifier: Apache-2.0 */
/* A session on one end of a socket pair, its client on the other, turned by hand. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ctl/call.h"
#include "ctl/peer.h"
#include "ctl/session.h"
#include "queue/base/err.h"

#define KEPT_MAX     128u
#define FDS_SENT_MAX 200u

static int client;
static int epoll_fd;
static struct session *session; /* NULL: over and freed */

/* Calls of method "keep" stay here for the test to answer. */
static struct call *kept[KEPT_MAX];
static uint32_t kept_count;
static uint32_t handled_count;

static json_t *take_all_fds(struct call *call)
{
	json_int_t count = 0;

	for (int fd; (fd = call_take_fd(call)) >= 0; count++)
		(void)close(fd);
	return json_pack("{s:I}", "fds", count);
}

static void handle(void *context, struct call *call)
{
	const char *method = call_method(call);

	cr_assert_eq(context, &kept);
	handled_count++;
	if (strcmp(method, "keep") == 0)
		kept[kept_count++] = call;
	else if (strcmp(method, "fds") == 0)
		call_reply(call, take_all_fds(call));
	else if (strcmp(method, "echo") == 0)
		call_reply(call, json_incref(call_params(call)));
	else
		call_fail(call, CALL_METHOD_NOT_FOUND, NULL, "no method %s", method);
}

static void set_up(void)
{
	const struct peer peer = {.pid = 42, .uid = 7};
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	cr_assert_geq(epoll_fd, 0);
	cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	cr_assert_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
	client = ends[1];
	cr_assert_eq(session_new(ends[0], &peer, epoll_fd, &session), 0);
}

static void tear_down(void)
{
	for (uint32_t i = 0; i < kept_count; i++)
		call_reply(kept[i], json_object());
	session_free(session);
	close_fd(client);
	close_fd(epoll_fd);
}

TestSuite(session, .init = set_up, .fini = tear_down);

/* Turns until epoll has nothing more to say. */
static void turn(void)
{
	struct epoll_event event;

	while (session && epoll_wait(epoll_fd, &event, 1, 0) == 1) {
		cr_assert_eq(event.data.ptr, session);
		if (session_step(session, event.events, handle, &kept))
			continue;
		session_free(session);
		session = NULL;
	}
}

/* Sends all, turning the session whenever the socket is full. */
static void say_bytes(const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t sent = send(client, bytes, size, MSG_NOSIGNAL);

		if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
			break;
		cr_assert(sent > 0 || errno == EAGAIN);
		bytes += sent > 0 ? sent : 0;
		size -= sent > 0 ? (size_t)sent : 0;
		turn();
	}
	turn();
}

static void say(const char *text)
{
	say_bytes(text, strlen(text));
}

/* The next line from the session, or NULL; static. */
static const char *hear(void)
{
	static char heard[64 * KIB];
	size_t size = 0;

	turn();
	while (size + 1 < sizeof(heard) && recv(client, heard + size, 1, 0) == 1)
		if (heard[size++] == '\n')
			break;
	heard[size] = '\0';
	return size > 0 ? heard : NULL;
}

static bool hears(const char *words)
{
	const char *line = hear();

	if (line && strstr(line, words))
		return true;
	cr_log_error("expected %s, heard %s", words, line ? line : "nothing");
	return false;
}

static void say_with_fds(const char *text, uint32_t count)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(FDS_SENT_MAX * sizeof(int))] = {0};
	char bytes[256];
	struct iovec io = {.iov_base = bytes, .iov_len = strlen(text)};
	struct msghdr message = {.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	cr_assert(count <= FDS_SENT_MAX && strlen(text) < sizeof(bytes));
	strcpy(bytes, text);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (uint32_t i = 0; i < count; i++)
		memcpy(CMSG_DATA(header) + i * sizeof(int), &epoll_fd, sizeof(int));
	cr_assert_eq(sendmsg(client, &message, 0), (ssize_t)strlen(text));
}

static uint32_t open_descriptors(void)
{
	CLEANUP_DIR DIR *directory = opendir("/proc/self/fd");
	uint32_t count = 0;

	while (readdir(directory))
		count++;
	return count;
}

#define REQUEST(id, method) "{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"" method "\"}\n"

Test(session, a_request_is_answered_on_the_same_connection)
{
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":{\"a\":[2]}}\n");

	cr_expect(hears("\"id\":1,\"result\":{\"a\":[2]}"));
	cr_expect_null(hear());
}

Test(session, the_peer_of_a_call_is_the_peer_of_its_connection)
{
	say(REQUEST(1, "keep"));

	cr_assert_eq(kept_count, 1);
	cr_expect_eq(call_peer(kept[0])->pid, 42);
	cr_expect_eq(call_peer(kept[0])->uid, 7);
}

Test(session, a_request_that_comes_byte_by_byte_is_one_request)
{
	const char request[] = REQUEST(5, "echo");

	for (size_t i = 0; i < sizeof(request) - 1; i++)
		say_bytes(&request[i], 1);

	cr_expect(hears("\"id\":5,\"result\""));
	cr_expect_eq(handled_count, 1);
}

Test(session, pipelined_requests_are_answered_in_their_order)
{
	say(REQUEST(1, "echo") "\n\r\n" REQUEST(2, "echo") REQUEST(3, "echo"));

	cr_expect(hears("\"id\":1,"));
	cr_expect(hears("\"id\":2,"));
	cr_expect(hears("\"id\":3,"));
	cr_expect_null(hear());
}

Test(session, a_malformed_line_is_answered_and_the_connection_goes_on)
{
	say("garbage\n" REQUEST(2, "echo"));

	cr_expect(hears("-32700"));
	cr_expect(hears("\"id\":2,\"result\""));
}

Test(session, a_notification_is_handled_but_not_answered)
{
	say("{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}\n{\"jsonrpc\":\"2.0\",\"method\":\"no\"}\n");

	cr_expect_eq(handled_count, 2);
	cr_expect_null(hear());
}

Test(session, late_answers_come_when_they_are_given_in_any_order)
{
	say(REQUEST(1, "keep") REQUEST(2, "keep"));
	cr_assert_null(hear());

	call_reply(kept[1], json_object());
	cr_expect(hears("\"id\":2,"));
	call_fail(kept[0], CALL_TIMEOUT, NULL, "after %d ms", 10);
	cr_expect(hears("after 10 ms"));

	kept_count = 0;
}

Test(session, a_result_that_could_not_be_made_is_an_internal_error)
{
	say(REQUEST(1, "keep"));

	call_reply(kept[0], NULL);
	kept_count = 0;

	cr_expect(hears("-32603"));
}

Test(session, an_answer_to_a_client_that_has_gone_is_dropped)
{
	say(REQUEST(1, "keep"));
	close_fd(take_fd(&client));
	turn();
	cr_assert_null(session);

	call_subscribe(kept[0]);
	call_reply(kept[0], json_object());
	kept_count = 0;
}

Test(session, requests_of_a_client_that_closed_at_once_are_still_handled)
{
	cr_assert_gt(send(client, REQUEST(1, "echo"), strlen(REQUEST(1, "echo")), 0), 0);
	close_fd(take_fd(&client));

	turn();

	cr_expect_eq(handled_count, 1);
	cr_expect_null(session);
}

Test(session, a_client_that_only_listens_any_more_gets_its_answers_then_the_end)
{
	say(REQUEST(1, "keep") REQUEST(2, "echo"));
	cr_assert_eq(shutdown(client, SHUT_WR), 0);
	cr_expect(hears("\"id\":2,"));
	cr_assert_not_null(session);

	call_reply(kept[0], json_object());
	kept_count = 0;

	cr_expect(hears("\"id\":1,"));
	cr_expect_null(session);
}

Test(session, a_notification_answered_last_ends_a_half_closed_connection)
{
	say("{\"jsonrpc\":\"2.0\",\"method\":\"keep\"}\n");
	cr_assert_eq(shutdown(client, SHUT_WR), 0);
	turn();
	cr_assert_not_null(session);

	call_reply(kept[0], json_object());
	kept_count = 0;
	turn();

	cr_expect_null(session);
}

Test(session, a_line_without_end_is_an_error_when_the_client_stops)
{
	say("{\"jsonrpc\":");
	cr_assert_eq(shutdown(client, SHUT_WR), 0);

	cr_expect(hears("no end"));
	cr_expect_null(session);
}

/* A request of exactly @size bytes with its end. */
static char *long_request(size_t size)
{
	static const char head[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no\",\"params\":{\"a\":\"";
	static const char tail[] = "\"}}\n";
	char *line = malloc(size);

	cr_assert(line && size > sizeof(head) + sizeof(tail));
	memset(line, 'x', size);
	memcpy(line, head, sizeof(head) - 1);
	memcpy(line + size - (sizeof(tail) - 1), tail, sizeof(tail) - 1);
	return line;
}

Test(session, a_line_of_one_mebibyte_is_served)
{
	CLEANUP_FREE char *line = long_request(SESSION_LINE_BYTES_MAX);

	say_bytes(line, SESSION_LINE_BYTES_MAX);

	cr_expect(hears("-32601"));
	cr_expect_not_null(session);
}

Test(session, a_longer_line_is_refused_and_the_connection_closed)
{
	const size_t size = SESSION_LINE_BYTES_MAX + SESSION_READ_BYTES;
	CLEANUP_FREE char *line = long_request(size);

	say_bytes(line, size);

	cr_expect(hears("must not exceed 1 MiB"));
	cr_expect_null(session);
	cr_expect_eq(handled_count, 0);
}

Test(session, the_call_beyond_the_bound_is_told_so_and_there_is_room_again_after_an_answer)
{
	for (uint32_t i = 0; i < SESSION_CALLS_MAX; i++)
		say(REQUEST(1, "keep"));
	cr_assert_null(hear());

	say(REQUEST(2, "keep"));
	cr_expect(hears("\"id\":2,\"error\":{\"code\":-32005"));

	call_reply(kept[--kept_count], json_object());
	cr_expect(hears("\"result\""));
	say(REQUEST(3, "keep"));
	cr_expect_eq(kept_count, SESSION_CALLS_MAX);
}

Test(session, a_client_that_asks_without_reading_is_not_read_any_more_and_not_lost)
{
	const char echo[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":{\"a\":\""
			    "0123456789012345678901234567890123456789\"}}\n";
	uint64_t asked = 0;
	uint64_t answered = 0;

	/* More than both socket buffers and the pause hold. */
	while (send(client, echo, sizeof(echo) - 1, MSG_NOSIGNAL) == sizeof(echo) - 1) {
		asked++;
		turn();
	}
	cr_assert_eq(errno, EAGAIN);
	cr_assert_not_null(session);
	cr_expect_gt(asked * sizeof(echo), SESSION_OUTPUT_PAUSE_BYTES);
	cr_expect_lt(handled_count, asked);

	while (hear())
		answered++;
	cr_expect_eq(answered, handled_count);
	cr_expect_geq(answered, asked);
}

Test(session, a_client_that_never_reads_what_it_is_sent_is_given_up)
{
	char text[64 * KIB];
	const struct rpc_text event = {.text = text, .size = sizeof(text)};
	uint32_t sent = 0;

	memset(text, 'x', sizeof(text));
	for (; session && sent < 1000; sent++) {
		session_send(session, &event);
		turn();
	}

	cr_expect_null(session);
	cr_expect_gt(sent * sizeof(text), SESSION_OUTPUT_BYTES_MAX);
	cr_expect_lt(sent * sizeof(text), SESSION_OUTPUT_BYTES_MAX + MIB);
}

Test(session, descriptors_go_to_the_request_they_came_with)
{
	say_with_fds(REQUEST(1, "fds"), 3);
	cr_expect(hears("\"id\":1,\"result\":{\"fds\":3}"));

	say(REQUEST(2, "fds"));
	cr_expect(hears("\"id\":2,\"result\":{\"fds\":0}"));
}

Test(session, descriptors_behind_a_pipelined_request_go_to_the_one_they_came_with)
{
	const char first[] = REQUEST(1, "fds");

	cr_assert_gt(send(client, first, strlen(first), 0), 0);
	say_with_fds(REQUEST(2, "fds"), 2);
	cr_assert_gt(send(client, REQUEST(3, "fds"), strlen(first), 0), 0);

	cr_expect(hears("\"id\":1,\"result\":{\"fds\":0}"));
	cr_expect(hears("\"id\":2,\"result\":{\"fds\":2}"));
	cr_expect(hears("\"id\":3,\"result\":{\"fds\":0}"));
}

Test(session, descriptors_of_a_request_in_pieces_wait_for_its_end)
{
	say_with_fds("{\"jsonrpc\":\"2.0\",\"id\":1,", 1);
	turn();
	say_with_fds("\"method\":\"fds\"}\n", 1);

	cr_expect(hears("\"id\":1,\"result\":{\"fds\":2}"));
	say(REQUEST(2, "fds"));
	cr_expect(hears("\"id\":2,\"result\":{\"fds\":0}"));
}

Test(session, more_descriptors_than_a_request_may_have_are_closed)
{
	uint32_t before = open_descriptors();

	say_with_fds(REQUEST(1, "fds"), FDS_SENT_MAX);
	cr_expect(hears("\"fds\":129}"));

	say_with_fds("{\"jsonrpc\":\"2.0\",\"id\":2,", FDS_SENT_MAX);
	turn();
	say_with_fds("\"method\":\"fds\"}\n", FDS_SENT_MAX);
	cr_expect(hears("\"fds\":129}"));
	cr_expect_eq(open_descriptors(), before);
}

Test(session, descriptors_nobody_takes_are_closed)
{
	uint32_t before = open_descriptors();

	say_with_fds(REQUEST(1, "echo"), 5);
	say_with_fds("\n", 5);
	say_with_fds("garbage\n", 5);
	say_with_fds("{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}\n", 5);
	turn();

	cr_expect_eq(handled_count, 2);
	cr_expect_eq(open_descriptors(), before);
}

Test(session, descriptors_of_a_line_that_never_ended_are_closed_with_the_session)
{
	uint32_t before = open_descriptors();

	say_with_fds("{\"jsonrpc\":", 5);
	turn();
	cr_assert_eq(open_descriptors(), before + 5);
	session_free(session);
	session = NULL;

	cr_expect_eq(open_descriptors(), before - 1);
}

/* A client that hands over its own end and goes: nobody else can close that end. */
static void hand_over_the_client(const char *text)
{
	const int own_epoll = epoll_fd;

	epoll_fd = client; /* what say_with_fds() sends */
	say_with_fds(text, 1);
	epoll_fd = own_epoll;
	turn();
	close_fd(take_fd(&client));
	turn();
}

Test(session, a_call_that_waits_does_not_keep_its_client_alive)
{
	hand_over_the_client(REQUEST(1, "keep"));

	cr_expect_eq(kept_count, 1);
	cr_expect_null(session);
}

Test(session, half_a_line_with_descriptors_is_not_held_for_ever)
{
	hand_over_the_client("{\"jsonrpc\"");
	cr_assert_not_null(session);
	cr_expect_not(session_holds_too_long(session, clock_ns()));

	cr_assert(session_holds_too_long(session, clock_ns() + SESSION_HOLD_NS));
	session_refuse(session, CALL_INVALID_REQUEST, "too long");
	turn();

	cr_expect_null(session);
}
