/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmswap-run against a daemon made of words: what it asks, what it hands over, how it ends.
 * Arguments: the paths of vmswap-run and of attach_static.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "attach_target.h"
#include "io/uffd.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define SHARDS	    3
#define PATIENCE_MS 20000

static const char *run_path;
static const char *static_path;
static char socket_path[64];

/* vmswap-run and the daemon's end of its connection. */
struct run {
	pid_t pid;
	int listener;
	int connection;
	int input;  /* of the program */
	int output; /* of vmswap-run and the program */
	uint32_t fd_count;
	int fds[16]; /* that came with the last request */
};

static void await_input(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	CHECK(poll(&poll_fd, 1, PATIENCE_MS) == 1);
}

static int listen_here(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, socket_path);
	(void)unlink(socket_path);
	CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(fd, 4) == 0);
	return fd;
}

static struct run start(const char *const arguments[], bool has_daemon)
{
	struct run run = {.listener = has_daemon ? listen_here() : -1, .connection = -1};
	const char *argv[16] = {run_path, "--socket", socket_path};
	int input[2];
	int output[2];
	size_t count = 3;

	while (*arguments)
		argv[count++] = *arguments++;
	CHECK(pipe2(input, O_CLOEXEC) == 0 && pipe2(output, O_CLOEXEC) == 0);
	run.pid = fork();
	if (run.pid == 0) {
		(void)dup2(input[0], 0);
		(void)dup2(output[1], 1);
		(void)dup2(output[1], 2);
		(void)execv(run_path, (char *const *)(uintptr_t)argv);
		_exit(126);
	}
	CHECK(run.pid > 0);
	(void)close(input[0]);
	(void)close(output[1]);
	run.input = input[1];
	run.output = output[0];
	return run;
}

/* The descriptors of a message, kept in @run. */
static void keep_fds(struct run *run, struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);

	if (!header)
		return;
	CHECK(header->cmsg_type == SCM_RIGHTS);
	run->fd_count = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	CHECK(run->fd_count <= ARRAY_SIZE(run->fds));
	memcpy(run->fds, CMSG_DATA(header), run->fd_count * sizeof(int));
}

/* The next request; one line. */
static json_t *receive(struct run *run)
{
	char line[4096];
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control;
	struct iovec vector = {line, sizeof(line) - 1};
	struct msghdr message = {.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t size;
	json_t *request;

	await_input(run->connection);
	size = recvmsg(run->connection, &message, MSG_CMSG_CLOEXEC);
	CHECK(size > 0 && line[size - 1] == '\n');
	keep_fds(run, &message);
	request = json_loadb(line, (size_t)size, 0, NULL);
	CHECK(request);
	CHECK(strcmp(json_string_value(json_object_get(request, "jsonrpc")), "2.0") == 0);
	return request;
}

static bool is_method(const json_t *request, const char *method)
{
	return strcmp(json_string_value(json_object_get(request, "method")), method) == 0;
}

/* Steals both. @key: "result" or "error". */
static void reply(const struct run *run, json_t *request, const char *key, json_t *value)
{
	json_t *response = json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id",
		json_object_get(request, "id"), key, value);
	char *text = json_dumps(response, JSON_COMPACT);

	CHECK(text);
	CHECK(write(run->connection, text, strlen(text)) == (ssize_t)strlen(text));
	CHECK(write(run->connection, "\n", 1) == 1);
	free(text);
	json_decref(response);
	json_decref(request);
}

/* Answers the question for shards. */
static void meet(struct run *run)
{
	json_t *request;

	await_input(run->listener);
	run->connection = accept(run->listener, NULL, NULL);
	CHECK(run->connection >= 0);
	request = receive(run);
	CHECK(is_method(request, "daemon.status"));
	reply(run, request, "result", json_pack("{s:i}", "shards", SHARDS));
}

/* What was written until @wanted came, or everything until the end when it is NULL. */
static void read_output(const struct run *run, const char *wanted, char ret_text[4096])
{
	size_t used = 0;
	ssize_t size = 1;

	ret_text[0] = '\0';
	while (size > 0 && used < 4095 && !(wanted && strstr(ret_text, wanted))) {
		await_input(run->output);
		size = read(run->output, ret_text + used, 4095 - used);
		used += size > 0 ? (size_t)size : 0;
		ret_text[used] = '\0';
	}
}

static int end(struct run *run)
{
	int status;

	CHECK(waitpid(run->pid, &status, 0) == run->pid);
	close_fd(run->listener);
	close_fd(run->connection);
	(void)close(run->input);
	(void)close(run->output);
	for (uint32_t i = 0; i < run->fd_count; i++)
		(void)close(run->fds[i]);
	return status;
}

static void check_attach(const struct run *run, const json_t *request)
{
	const json_t *params = json_object_get(request, "params");

	CHECK(is_method(request, "vm.attach"));
	CHECK(json_array_size(json_object_get(params, "pids")) == 1);
	CHECK(json_is_true(json_object_get(params, "prepared")));
	CHECK(json_integer_value(json_object_get(params, "wait_memory_ms")) == 7000);
	CHECK(json_integer_value(json_object_get(params, "min_size")) == (json_int_t)(2 * MIB));
	CHECK(strcmp(json_string_value(json_object_get(params, "name")), "tiny") == 0);
	CHECK(run->fd_count == SHARDS);
	for (uint32_t i = 0; i < run->fd_count; i++)
		CHECK(uffd_handshake(run->fds[i], 0) == 0);
}

static const char *const strict_command[] = {
	"--name", "tiny", "--timeout", "7", "--min-size", "2M", "--", NULL, "42", NULL};

static struct run start_strict(void)
{
	const char *arguments[ARRAY_SIZE(strict_command)];

	memcpy(arguments, strict_command, sizeof(arguments));
	arguments[7] = static_path;
	return start(arguments, true);
}

static void a_static_strict_program_is_handed_over_with_its_userfaultfds(void)
{
	struct run run = start_strict();
	char text[4096];

	meet(&run);
	json_t *request = receive(&run);
	check_attach(&run, request);
	read_output(&run, "\n", text);
	reply(&run, request, "result", json_object());
	CHECK(write(run.input, "x", 1) == 1);
	int status = end(&run);

	CHECK(strcmp(text, "3\n") == 0);
	CHECK(WIFEXITED(status));
	CHECK(WEXITSTATUS(status) == 42);
}

static void a_refusal_is_told_and_the_program_runs_on(void)
{
	struct run run = start_strict();
	char text[4096];

	meet(&run);
	reply(&run, receive(&run), "error",
		json_pack("{s:i, s:s}", "code", -32002, "message", "no room"));
	read_output(&run, "no room", text);
	CHECK(write(run.input, "x", 1) == 1);
	int status = end(&run);

	CHECK(strstr(text, "not attached: no room"));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void the_program_may_end_before_the_daemon_answers(void)
{
	struct run run = start_strict();

	meet(&run);
	json_decref(receive(&run));
	CHECK(write(run.input, "x", 1) == 1);
	int status = end(&run);

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void a_signal_reaches_the_program_and_its_death_is_ours(void)
{
	struct run run = start_strict();
	char text[4096];

	meet(&run);
	read_output(&run, "\n", text);
	CHECK(kill(run.pid, SIGTERM) == 0);
	int status = end(&run);

	CHECK(WIFSIGNALED(status));
	CHECK(WTERMSIG(status) == SIGTERM);
}

static void nothing_is_started_without_a_daemon(void)
{
	const char *const arguments[] = {"echo", "started", NULL};
	char text[4096];

	(void)unlink(socket_path);
	struct run run = start(arguments, false);
	read_output(&run, NULL, text);
	int status = end(&run);

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 125);
	CHECK(strstr(text, "no vmswapd is running there"));
	CHECK(!strstr(text, "started"));
}

static void it_is_started_all_the_same_when_the_daemon_is_optional(void)
{
	const char *const arguments[] = {"--optional", "echo", "started", NULL};
	char text[4096];

	(void)unlink(socket_path);
	struct run run = start(arguments, false);
	read_output(&run, NULL, text);
	int status = end(&run);

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(strstr(text, "started"));
}

static void a_program_that_is_not_there_is_127(void)
{
	const char *const arguments[] = {"/nonexistent/vmm", NULL};
	struct run run = start(arguments, true);
	char text[4096];

	meet(&run);
	read_output(&run, NULL, text);
	int status = end(&run);

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 127);
	CHECK(strstr(text, "/nonexistent/vmm: No such file or directory"));
}

static void wrong_options_are_125(void)
{
	static const char *const wrong[][4] = {{NULL}, {"--timeout", "soon", "true"},
		{"--timeout", "-1", "true"}, {"--min-size", "0", "true"},
		{"--min-size", "1X", "true"}, {"--min-size", "99999999T", "true"},
		{"--frobnicate", "true"}};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct run run = start(wrong[i], false);
		int status = end(&run);

		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 125);
	}
}

int main(int argc, char **argv)
{
	if (geteuid() != 0) {
		(void)printf("needs root\n");
		return 77;
	}
	CHECK(argc == 3);
	run_path = argv[1];
	static_path = argv[2];
	(void)snprintf(socket_path, sizeof(socket_path), "/tmp/test_run.%d.sock", getpid());
	(void)signal(SIGPIPE, SIG_IGN);
	RUN(a_static_strict_program_is_handed_over_with_its_userfaultfds);
	RUN(a_refusal_is_told_and_the_program_runs_on);
	RUN(the_program_may_end_before_the_daemon_answers);
	RUN(a_signal_reaches_the_program_and_its_death_is_ours);
	RUN(nothing_is_started_without_a_daemon);
	RUN(it_is_started_all_the_same_when_the_daemon_is_optional);
	RUN(a_program_that_is_not_there_is_127);
	RUN(wrong_options_are_125);
	(void)unlink(socket_path);
	return 0;
}
