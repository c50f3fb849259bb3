/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control server against clients that behave badly. After each of them it must still answer
 * others at once, hold no descriptor too many, and end orderly.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/server.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "tests/e2e/server_rig.h"

#define CONNECTIONS_MAX 256u
/* Until an idle daemon must have given up who is overdue (SESSION_HOLD_NS is 5 s). */
#define IDLE_S	30
#define POLL_US 20000

static void malformed_lines_get_errors_and_stop_nobody(void)
{
	static const char *const lines[] = {"garbage\n", "{}\n", "[]\n", "\xff\xfe\x01\x02\n",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ping\"}\n", "\"\n"};
	CLEANUP_FD int fd = rig_join();

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		rig_say(fd, lines[i]);
		CHECK(rig_hears(fd, "\"id\":null,\"error\""));
	}

	rig_say(fd, REQUEST("ping"));
	CHECK(rig_hears(fd, PONG));
}

static void a_half_line_stops_nobody(void)
{
	CLEANUP_FD int fd = rig_join();

	rig_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,");
	rig_check_others_are_served();

	rig_say(fd, "\"method\":\"ping\"}\n");
	CHECK(rig_hears(fd, PONG));
}

static void binary_floods_stop_nobody(void)
{
	unsigned seed = 7;
	char bytes[16 * KIB];
	uint32_t before = rig_descriptors();

	for (int round = 0; round < 20; round++) {
		CLEANUP_FD int fd = rig_join();

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (char)rand_r(&seed);
		CHECK(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) == sizeof(bytes));
		rig_check_others_are_served();
	}

	rig_check_descriptors(before);
}

static void an_oversized_line_is_refused_and_closed(void)
{
	CLEANUP_FD int fd = rig_join();
	CLEANUP_FREE char *bytes = malloc(2 * MIB);
	size_t sent = 0;

	CHECK(bytes);
	memset(bytes, 'x', 2 * MIB);
	while (sent < 2 * MIB) {
		ssize_t some = send(fd, bytes + sent, 2 * MIB - sent, MSG_NOSIGNAL);

		if (some < 0)
			break;
		sent += (size_t)some;
	}

	CHECK(sent < 2 * MIB);
	CHECK(rig_hears(fd, "must not exceed 1 MiB"));
	CHECK(rig_hears_the_end(fd));
	rig_check_others_are_served();
}

static void a_depth_bomb_is_a_parse_error(void)
{
	CLEANUP_FD int fd = rig_join();
	CLEANUP_FREE char *bytes = malloc(MIB);

	CHECK(bytes);
	memset(bytes, '[', MIB - 1);
	bytes[MIB - 1] = '\n';
	for (size_t sent = 0; sent < MIB;) {
		ssize_t some = send(fd, bytes + sent, MIB - sent, MSG_NOSIGNAL);

		CHECK(some > 0);
		sent += (size_t)some;
	}

	CHECK(rig_hears(fd, "-32700"));
	rig_say(fd, REQUEST("ping"));
	CHECK(rig_hears(fd, PONG));
}

static void the_connection_beyond_the_bound_is_told_so(void)
{
	int fds[CONNECTIONS_MAX];
	uint32_t before = rig_descriptors();

	for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
		fds[i] = rig_join();
		rig_say(fds[i], REQUEST("ping"));
		CHECK(rig_hears(fds[i], PONG));
	}
	for (int round = 0; round < 100; round++) {
		CLEANUP_FD int fd = rig_join();

		CHECK(rig_hears(fd, "-32005"));
		CHECK(rig_hears_the_end(fd));
	}
	rig_say(fds[0], REQUEST("ping"));
	CHECK(rig_hears(fds[0], PONG));

	for (uint32_t i = 0; i < CONNECTIONS_MAX; i++)
		(void)close(fds[i]);
	rig_check_descriptors(before);
}

static void abandoned_connections_leave_nothing_behind(void)
{
	static const char *const starts[] = {
		"", "{\"jsonrpc\":", REQUEST("keep"), REQUEST("ping"), REQUEST("subscribe")};
	uint32_t before = rig_descriptors();

	for (size_t i = 0; i < 1000; i++) {
		CLEANUP_FD int fd = rig_join();

		rig_say(fd, starts[i % ARRAY_SIZE(starts)]);
	}

	rig_check_descriptors(before);
}

static void a_daemon_without_descriptors_says_so_and_recovers(void)
{
	CLEANUP_FD int fd = rig_join();

	rig_say(fd,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"limit\",\"params\":{\"on\":true}}\n");
	CHECK(rig_hears(fd, "\"result\""));
	for (int round = 0; round < 3; round++) {
		CLEANUP_FD int other = rig_join();

		CHECK(rig_hears(other, "out of file descriptors"));
		CHECK(rig_hears_the_end(other));
	}

	rig_say(fd,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"limit\",\"params\":{\"on\":false}}\n");
	CHECK(rig_hears(fd, "\"result\""));
	rig_check_others_are_served();
}

#define PIPELINED 10000

/* Sends PIPELINED requests, reading none of the answers before the last is sent. */
static void pipeline(int fd)
{
	char line[96];

	for (int i = 0; i < PIPELINED; i++) {
		(void)snprintf(line, sizeof(line),
			"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"ping\"}\n", i);
		rig_say(fd, line);
	}
}

static void ten_thousand_pipelined_requests_are_answered_in_order(void)
{
	CLEANUP_FD int fd = rig_join();
	char words[32];

	pipeline(fd);

	for (int i = 0; i < PIPELINED; i++) {
		(void)snprintf(words, sizeof(words), "\"id\":%d,", i);
		CHECK(rig_hears(fd, words));
	}
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = {0};

	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
	return info.si_pid == pid;
}

static void a_flood_of_one_client_delays_no_other(void)
{
	pid_t flooder = fork();

	CHECK(flooder >= 0);
	if (flooder == 0) {
		for (int round = 0; round < 5; round++)
			ten_thousand_pipelined_requests_are_answered_in_order();
		exit(0);
	}
	while (!has_ended(flooder))
		rig_check_others_are_served();

	CHECK(rig_exit_code(flooder) == 0);
}

static void a_slow_reader_gets_everything_and_delays_no_other(void)
{
	CLEANUP_FD int fd = rig_join();
	uint32_t answers = 0;
	uint32_t asked = 0;

	/* Until neither the sockets nor the server take more. */
	while (send(fd, REQUEST("ping"), strlen(REQUEST("ping")), MSG_DONTWAIT | MSG_NOSIGNAL) ==
		(ssize_t)strlen(REQUEST("ping"))) {
		if (++asked % 4096 == 0)
			rig_check_others_are_served();
	}
	CHECK(errno == EAGAIN);

	for (; answers < asked; answers++) {
		if (answers % 4096 == 0)
			rig_check_others_are_served();
		CHECK(rig_hears(fd, PONG));
	}
}

/* Publishes 1024 events of 8 KiB, twice what a client may leave unread, from a client that reads.
 */
static void publish_much(int fd)
{
	char line[9 * KIB];
	char text[8 * KIB];

	memset(text, 'e', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	(void)snprintf(line, sizeof(line),
		"{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"publish\",\"params\":{\"count\":64,"
		"\"text\":\"%s\"}}\n",
		text);
	for (int round = 0; round < 16; round++) {
		rig_say(fd, line);
		for (int event = 0; event < 64; event++)
			CHECK(rig_hears(fd, "\"method\":\"event\""));
		CHECK(rig_hears(fd, "\"id\":9,\"result\""));
	}
}

static void a_subscriber_that_never_reads_is_closed_and_others_miss_nothing(void)
{
	CLEANUP_FD int sleeper = rig_join();
	CLEANUP_FD int reader = rig_join();
	CLEANUP_FD int bystander = rig_join();
	size_t left = 0;
	char bytes[4096];
	ssize_t some;

	rig_say(sleeper, REQUEST("subscribe"));
	CHECK(rig_hears(sleeper, "\"result\""));
	rig_say(reader, REQUEST("subscribe"));
	CHECK(rig_hears(reader, "\"result\""));

	publish_much(reader);

	while ((some = recv(sleeper, bytes, sizeof(bytes), 0)) > 0)
		left += (size_t)some;
	CHECK(left < 8 * MIB);
	rig_say(bystander, REQUEST("ping"));
	CHECK(rig_hears(bystander, PONG));
	rig_check_others_are_served();
}

/*
 * Only the daemon can close that end, so it never hears that the client has gone. Nobody says a
 * word meanwhile: a turn of the server would hide that it sleeps.
 */
static void a_client_that_hands_over_its_own_end_and_goes_is_forgotten_by_an_idle_daemon(void)
{
	int fd = rig_join();
	uint64_t deadline_ns = clock_ns() + IDLE_S * NS_PER_S;
	uint32_t joined;

	rig_say(fd, REQUEST("ping"));
	CHECK(rig_hears(fd, PONG));
	joined = rig_descriptors();
	rig_say_with(fd, "half a line", fd);
	(void)close(fd);

	while (rig_descriptors() <= joined && clock_ns() < deadline_ns)
		(void)sched_yield();
	CHECK(rig_descriptors() == joined + 1);
	while (rig_descriptors() >= joined && clock_ns() < deadline_ns)
		(void)usleep(POLL_US);
	CHECK(rig_descriptors() == joined - 1);
}

static void a_stranger_is_refused(void)
{
	pid_t stranger;

	if (geteuid() != 0) {
		(void)fprintf(stderr, "not root: skipped\n");
		return;
	}
	CHECK(chmod(rig_directory, 0711) == 0);
	CHECK(chmod(rig_path, 0666) == 0);
	stranger = fork();
	CHECK(stranger >= 0);
	if (stranger == 0) {
		CHECK(setgid(65534) == 0);
		CHECK(setuid(65534) == 0);
		int fd = rig_join();

		CHECK(rig_hears(fd, "peer-uid"));
		CHECK(rig_hears_the_end(fd));
		exit(0);
	}
	CHECK(rig_exit_code(stranger) == 0);
	CHECK(chmod(rig_path, 0600) == 0);
}

static void the_mode_of_the_socket_lets_no_stranger_connect(void)
{
	struct stat found;

	CHECK(stat(rig_path, &found) == 0);
	CHECK((found.st_mode & 07777) == 0600);
}

static void never(void *context, struct call *call)
{
	(void)context;
	(void)call;
	CHECK(false);
}

static int try_open(const char *path, struct server **ret_server)
{
	const struct server_config config = {
		.path = path, .policy = {.group = PEER_NO_GROUP}, .handler = never};

	return server_open(&config, ret_server);
}

static void a_second_daemon_is_refused(void)
{
	struct server *second;
	char lock[80];
	char aside[80];

	(void)snprintf(aside, sizeof(aside), "%s.aside", rig_path);

	CHECK(try_open(rig_path, &second) == -EADDRINUSE);
	/* The lock alone refuses… */
	CHECK(rename(rig_path, aside) == 0);
	CHECK(try_open(rig_path, &second) == -EADDRINUSE);
	CHECK(rename(aside, rig_path) == 0);
	/* …and so does the daemon's answer. */
	(void)snprintf(lock, sizeof(lock), "%s.lock", rig_path);
	CHECK(unlink(lock) == 0);
	CHECK(try_open(rig_path, &second) == -EADDRINUSE);

	rig_check_others_are_served();
}

static void the_socket_of_a_dead_daemon_is_replaced(void)
{
	CHECK(kill(rig_pid, SIGKILL) == 0);
	CHECK(rig_exit_code(rig_pid) == 128 + SIGKILL);
	CHECK(access(rig_path, F_OK) == 0);

	rig_begin();
	rig_check_others_are_served();
}

static void of_daemons_that_start_together_one_wins(void)
{
	enum { RIVALS = 8 };
	pid_t pids[RIVALS];
	uint32_t won = 0;

	CHECK(kill(rig_pid, SIGKILL) == 0);
	CHECK(rig_exit_code(rig_pid) == 128 + SIGKILL);
	/* The stale socket is there: each of them would like to replace it. */
	for (uint32_t i = 0; i < RIVALS; i++) {
		pids[i] = fork();
		CHECK(pids[i] >= 0);
		if (pids[i] == 0) {
			int error = rig_start(&rig_pid);

			CHECK(error == 0 || error == -EADDRINUSE);
			exit(error == 0 ? 42 : 0);
		}
	}
	for (uint32_t i = 0; i < RIVALS; i++)
		won += rig_exit_code(pids[i]) == 42;
	CHECK(won == 1);
	rig_check_others_are_served();

	/* The winner is no child of ours: it is told to go, and its lock says when it has gone. */
	CLEANUP_FD int fd = rig_join();

	rig_say(fd, REQUEST("quit"));
	CHECK(rig_hears(fd, "\"result\""));
	CHECK(rig_hears_the_end(fd));
	while (rig_start(&rig_pid) != 0)
		CHECK(rig_exit_code(rig_pid) == 3);
}

static void a_file_that_is_no_socket_is_left_alone(void)
{
	struct server *server;
	int fd;

	rig_end();
	fd = open(rig_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK(write(fd, "mine", 4) == 4);
	(void)close(fd);

	CHECK(try_open(rig_path, &server) == -EEXIST);

	CHECK(access(rig_path, F_OK) == 0);
	CHECK(unlink(rig_path) == 0);
	rig_begin();
}

static void a_path_that_cannot_be_is_an_error(void)
{
	char longest[200];
	struct server *server;

	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';

	CHECK(try_open(longest, &server) == -ENAMETOOLONG);
	CHECK(try_open("", &server) == -EINVAL);
	CHECK(try_open("/nonexistent/socket", &server) == -ENOENT);
}

struct test {
	const char *name;
	void (*run)(void);
};

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

static const struct test tests[] = {
	TEST(malformed_lines_get_errors_and_stop_nobody),
	TEST(a_half_line_stops_nobody),
	TEST(binary_floods_stop_nobody),
	TEST(an_oversized_line_is_refused_and_closed),
	TEST(a_depth_bomb_is_a_parse_error),
	TEST(the_connection_beyond_the_bound_is_told_so),
	TEST(abandoned_connections_leave_nothing_behind),
	TEST(a_daemon_without_descriptors_says_so_and_recovers),
	TEST(ten_thousand_pipelined_requests_are_answered_in_order),
	TEST(a_flood_of_one_client_delays_no_other),
	TEST(a_slow_reader_gets_everything_and_delays_no_other),
	TEST(a_subscriber_that_never_reads_is_closed_and_others_miss_nothing),
	TEST(a_client_that_hands_over_its_own_end_and_goes_is_forgotten_by_an_idle_daemon),
	TEST(a_stranger_is_refused),
	TEST(the_mode_of_the_socket_lets_no_stranger_connect),
	TEST(a_second_daemon_is_refused),
	TEST(the_socket_of_a_dead_daemon_is_replaced),
	TEST(of_daemons_that_start_together_one_wins),
	TEST(a_file_that_is_no_socket_is_left_alone),
	TEST(a_path_that_cannot_be_is_an_error),
};

int main(void)
{
	char lock[80];

	CHECK(mkdtemp(rig_directory));
	(void)snprintf(rig_path, sizeof(rig_path), "%s/socket", rig_directory);
	(void)snprintf(lock, sizeof(lock), "%s.lock", rig_path);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		(void)fprintf(stderr, "%s\n", tests[i].name);
		rig_begin();
		tests[i].run();
		rig_end();
	}
	CHECK(unlink(lock) == 0);
	CHECK(rmdir(rig_directory) == 0);
	return 0;
}
