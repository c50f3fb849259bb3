/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/e2e/server_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdalign.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/call.h"
#include "ctl/server.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define KEPT_MAX      4096u
#define DAEMON_LIFE_S 110
#define LINE_BYTES    (64 * KIB)

char rig_directory[] = "/tmp/vmswap-server-XXXXXX";
char rig_path[64];
pid_t rig_pid;

struct fake {
	struct server *server;
	struct call *quit; /* answered last; NULL: goes on */
	struct call *kept[KEPT_MAX];
	uint32_t kept_count;
};

static void publish(struct fake *fake, struct call *call)
{
	json_int_t count = json_integer_value(json_object_get(call_params(call), "count"));
	json_t *text = json_object_get(call_params(call), "text");

	for (json_int_t i = 0; i < count; i++)
		server_publish(fake->server, json_pack("{s:I, s:O}", "n", i, "text", text));
	call_reply(call, json_object());
}

/* Leaves the daemon no descriptor to accept with, or gives them back. */
static void limit_descriptors(struct call *call)
{
	struct rlimit limit = {.rlim_cur = 1024, .rlim_max = 4096};

	if (json_is_true(json_object_get(call_params(call), "on"))) {
		int lowest_free = dup(STDIN_FILENO);

		CHECK(lowest_free >= 0);
		(void)close(lowest_free);
		limit.rlim_cur = (rlim_t)lowest_free;
	}
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	call_reply(call, json_object());
}

static void handle(void *context, struct call *call)
{
	struct fake *fake = context;
	const char *method = call_method(call);

	if (strcmp(method, "ping") == 0) {
		call_reply(call, json_pack("{s:b}", "pong", 1));
	} else if (strcmp(method, "keep") == 0) {
		CHECK(fake->kept_count < KEPT_MAX);
		fake->kept[fake->kept_count++] = call;
	} else if (strcmp(method, "subscribe") == 0) {
		call_subscribe(call);
		call_reply(call, json_object());
	} else if (strcmp(method, "publish") == 0) {
		publish(fake, call);
	} else if (strcmp(method, "limit") == 0) {
		limit_descriptors(call);
	} else if (strcmp(method, "quit") == 0) {
		fake->quit = call;
	} else {
		call_fail(call, CALL_METHOD_NOT_FOUND, NULL, "no method %s", method);
	}
}

static int timeout_ms(const struct server *server)
{
	uint64_t deadline_ns = server_deadline(server);
	uint64_t now_ns = clock_ns();

	if (deadline_ns == UINT64_MAX)
		return -1;
	return deadline_ns <= now_ns ? 0 : (int)divide_up(deadline_ns - now_ns, NS_PER_MS);
}

static int run_daemon(int ready_fd)
{
	struct fake fake = {0};
	const struct server_config config = {
		.path = rig_path,
		.policy = {.group = PEER_NO_GROUP},
		.handler = handle,
		.context = &fake,
	};
	int error;

	/* Should the test fail, nobody else ends us; ctest's own patience is 120 s. */
	(void)alarm(DAEMON_LIFE_S);
	error = server_open(&config, &fake.server);
	CHECK(write(ready_fd, &error, sizeof(error)) == sizeof(error));
	(void)close(ready_fd);
	if (error)
		return 3;
	while (!fake.quit) {
		struct pollfd ready = {.fd = server_fd(fake.server), .events = POLLIN};

		CHECK(poll(&ready, 1, timeout_ms(fake.server)) >= 0);
		server_step(fake.server);
	}
	call_reply(fake.quit, json_object());
	server_close(fake.server);
	for (uint32_t i = 0; i < fake.kept_count; i++)
		call_reply(fake.kept[i], json_object());
	return 0;
}

int rig_start(pid_t *ret_pid)
{
	int ends[2];
	int error;

	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	*ret_pid = fork();
	CHECK(*ret_pid >= 0);
	if (*ret_pid == 0)
		exit(run_daemon(ends[1]));
	(void)close(ends[1]);
	CHECK(read(ends[0], &error, sizeof(error)) == sizeof(error));
	(void)close(ends[0]);
	return error;
}

int rig_exit_code(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

uint32_t rig_descriptors(void)
{
	char name[64];
	CLEANUP_DIR DIR *fds = NULL;
	uint32_t count = 0;

	(void)snprintf(name, sizeof(name), "/proc/%d/fd", (int)rig_pid);
	fds = opendir(name);
	CHECK(fds);
	while (readdir(fds))
		count++;
	return count;
}

static int try_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	strcpy(address.sun_path, rig_path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

int rig_join(void)
{
	int fd = try_connect();

	CHECK(fd >= 0);
	return fd;
}

void rig_say(int fd, const char *text)
{
	CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

void rig_say_with(int fd, const char *text, int passed)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec io = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
	struct msghdr message = {.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	*header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(header), &passed, sizeof(int));
	CHECK(sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

const char *rig_hear(int fd)
{
	static char line[LINE_BYTES];
	size_t size = 0;
	bool is_whole = false;

	while (!is_whole && size + 1 < sizeof(line)) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		const char *end;
		ssize_t some;

		CHECK(poll(&ready, 1, AT_ONCE_MS) == 1);
		/* Looked at first, so that what follows the line stays in the socket. */
		some = recv(fd, line + size, sizeof(line) - 1 - size, MSG_PEEK);
		if (some <= 0)
			break;
		end = memchr(line + size, '\n', (size_t)some);
		is_whole = end != NULL;
		if (end)
			some = end + 1 - (line + size);
		CHECK(recv(fd, line + size, (size_t)some, 0) == some);
		size += (size_t)some;
	}
	line[size] = '\0';
	return line;
}

bool rig_hears(int fd, const char *words)
{
	const char *line = rig_hear(fd);

	if (strstr(line, words))
		return true;
	(void)fprintf(stderr, "expected %s, heard %s\n", words, line);
	return false;
}

bool rig_hears_the_end(int fd)
{
	const char *line = rig_hear(fd);

	if (line[0] != '\0')
		(void)fprintf(stderr, "expected the end, heard %s\n", line);
	return line[0] == '\0';
}

void rig_check_others_are_served(void)
{
	CLEANUP_FD int fd = rig_join();

	rig_say(fd, REQUEST("ping"));
	CHECK(rig_hears(fd, PONG));
}

/* Closes of clients are seen a turn later. */
void rig_check_descriptors(uint32_t expected)
{
	uint64_t deadline_ns = clock_ns() + AT_ONCE_MS * NS_PER_MS;

	do {
		rig_check_others_are_served();
		if (rig_descriptors() <= expected + 1)
			return;
	} while (clock_ns() < deadline_ns);
	CHECK(rig_descriptors() <= expected + 1);
}

void rig_begin(void)
{
	CHECK(rig_start(&rig_pid) == 0);
}

/* The answer to the request that ends the daemon must come, too. */
void rig_end(void)
{
	CLEANUP_FD int fd = rig_join();

	rig_say(fd, REQUEST("quit"));
	CHECK(rig_hears(fd, "\"result\""));
	CHECK(rig_hears_the_end(fd));
	CHECK(rig_exit_code(rig_pid) == 0);
	CHECK(access(rig_path, F_OK) < 0 && errno == ENOENT);
}
