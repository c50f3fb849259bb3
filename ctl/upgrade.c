/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/upgrade.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/problem.h"
#include "engine/layout.h"
#include "queue/base/err.h"

/* "vmswapd VERSION layout N" and room for what it is not. */
#define ANSWER_BYTES 128

struct upgrade {
	int program;
	int output; /* of the child; not blocking */
	int timer;
	int epoll; /* both of the above */
	pid_t child;
	size_t length;
	char answer[ANSWER_BYTES];
};

/* Where we were started from, even if a package manager has put another file there since. */
static int own_path(char *ret_path, size_t size)
{
	static const char gone[] = " (deleted)";
	const ssize_t length = readlink("/proc/self/exe", ret_path, size - 1);
	const size_t suffix = sizeof(gone) - 1;

	if (length < 0)
		return -errno;
	ret_path[length] = '\0';
	if ((size_t)length > suffix && strcmp(ret_path + length - suffix, gone) == 0)
		ret_path[(size_t)length - suffix] = '\0';
	return 0;
}

/* It becomes a daemon with our rights. */
static int check_file(int fd, const char *path, struct problem *problem)
{
	struct stat found;

	if (fstat(fd, &found) < 0)
		return problem_set(problem, -errno, "no-program", "%s: %s", path, strerror(errno));
	if (!S_ISREG(found.st_mode))
		return problem_set(
			problem, -EACCES, "no-program", "%s is not a regular file", path);
	if ((found.st_uid != 0 && found.st_uid != geteuid()) || /* @control geteuid */
		(found.st_mode & (S_IWGRP | S_IWOTH)))
		return problem_set(problem, -EPERM, "unsafe-program",
			"%s: others than root and the user of the daemon may write it", path);
	return 0;
}

static int open_program(struct upgrade *upgrade, const char *path, struct problem *problem)
{
	char own[PATH_MAX];

	if (!path) {
		const int rc = own_path(own, sizeof(own));

		if (rc < 0)
			return problem_set(problem, rc, "no-program",
				"it is not known where this daemon was started from");
		path = own;
	}
	upgrade->program = open(path, O_PATH | O_CLOEXEC);
	if (upgrade->program < 0)
		return problem_set(problem, -errno, "no-program", "%s: %s", path, strerror(errno));
	return check_file(upgrade->program, path, problem);
}

static int set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none;
	sigset_t ignored;

	(void)sigemptyset(&none);
	(void)sigemptyset(&ignored);
	(void)sigaddset(&ignored, SIGPIPE);
	(void)sigaddset(&ignored, SIGHUP);
	(void)posix_spawnattr_setsigmask(attributes, &none);
	(void)posix_spawnattr_setsigdefault(attributes, &ignored);
	return -posix_spawnattr_setflags(
		attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

/* The child has standard output and the program, whose interpreter may have to open it. */
static int set_files(posix_spawn_file_actions_t *files, int output, int program)
{
	int rc = -posix_spawn_file_actions_adddup2(files, output, STDOUT_FILENO);

	if (rc == 0)
		rc = -posix_spawn_file_actions_addopen(
			files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (rc == 0)
		rc = -posix_spawn_file_actions_adddup2(files, program, program);
	return rc;
}

static int spawn(struct upgrade *upgrade, int output)
{
	char path[32];
	char name[] = "vmswapd";
	char option[] = "--layout";
	char *argv[] = {name, option, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int rc;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", upgrade->program);
	if (posix_spawn_file_actions_init(&files) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0) {
		(void)posix_spawn_file_actions_destroy(&files);
		return -ENOMEM;
	}
	rc = set_attributes(&attributes);
	if (rc == 0)
		rc = set_files(&files, output, upgrade->program);
	if (rc == 0)
		/* @control clone3 clone execve */
		rc = -posix_spawn(&upgrade->child, path, &files, &attributes, argv, environ);
	if (rc < 0)
		upgrade->child = 0;
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&files);
	return rc;
}

static int watch(struct upgrade *upgrade, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	/* @control epoll_ctl */
	return errno_of(epoll_ctl(upgrade->epoll, EPOLL_CTL_ADD, fd, &event));
}

static int start(struct upgrade *upgrade)
{
	const struct itimerspec deadline = {.it_value.tv_sec = UPGRADE_ANSWER_S};
	CLEANUP_FD int output = -1;
	int pair[2];
	int rc;

	if (pipe2(pair, O_CLOEXEC) < 0) /* @control pipe2 */
		return -errno;
	upgrade->output = pair[0];
	output = pair[1];
	/* @control timerfd_create */
	upgrade->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	upgrade->epoll = epoll_create1(EPOLL_CLOEXEC); /* @control epoll_create1 */
	if (upgrade->timer < 0 || upgrade->epoll < 0 ||
		fcntl(upgrade->output, F_SETFL, O_NONBLOCK) < 0 ||
		/* @control timerfd_settime */
		timerfd_settime(upgrade->timer, 0, &deadline, NULL) < 0)
		return -errno;
	rc = watch(upgrade, upgrade->output);
	if (rc == 0)
		rc = watch(upgrade, upgrade->timer);
	return rc < 0 ? rc : spawn(upgrade, output);
}

int upgrade_begin(const char *path, struct upgrade **ret_upgrade, struct problem *problem)
{
	struct upgrade *upgrade = calloc(1, sizeof(*upgrade));
	int rc;

	if (!upgrade)
		return problem_set(problem, -ENOMEM, "no-memory", "no memory");
	upgrade->program = upgrade->output = upgrade->timer = upgrade->epoll = -1;
	rc = open_program(upgrade, path, problem);
	if (rc == 0) {
		rc = start(upgrade);
		if (rc < 0)
			(void)problem_set(problem, rc, "no-program", "it cannot be executed: %s",
				strerror(-rc));
	}
	if (rc < 0)
		upgrade_free(upgrade);
	else
		*ret_upgrade = upgrade;
	return rc;
}

int upgrade_fd(const struct upgrade *upgrade)
{
	return upgrade->epoll;
}

/* "vmswapd VERSION layout N\n"; false when it is anything else. */
static bool parse_answer(char *answer, const char **ret_version, unsigned long *ret_layout)
{
	static const char head[] = "vmswapd ";
	static const char middle[] = " layout ";
	char *version = answer + sizeof(head) - 1;
	char *number;
	char *end;

	if (strncmp(answer, head, sizeof(head) - 1) != 0)
		return false;
	number = strstr(version, middle);
	if (!number)
		return false;
	*number = '\0';
	number += sizeof(middle) - 1;
	*ret_version = version;
	*ret_layout = strtoul(number, &end, 10);
	/* it is shown to people */
	for (const char *c = version; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr(".-+~", *c))
			return false;
	}
	return end != number && strcmp(end, "\n") == 0;
}

static int judge(struct upgrade *upgrade, struct problem *problem)
{
	const char *version;
	unsigned long layout;

	if (!parse_answer(upgrade->answer, &version, &layout))
		return problem_set(problem, -ENOEXEC, "not-vmswapd",
			"it is not a vmswapd that can take over: it does not tell its layout");
	if (layout != LAYOUT_VERSION)
		return problem_set(problem, -EPROTO, "layout",
			"vmswapd %s has layout %lu, this one has %u: neither understands what the "
			"other leaves. Detach all VMs and restart the daemon",
			version, layout, LAYOUT_VERSION);
	return 1;
}

int upgrade_step(struct upgrade *upgrade, struct problem *problem)
{
	uint64_t expired;
	const size_t room = sizeof(upgrade->answer) - 1 - upgrade->length;
	const ssize_t size = read(upgrade->output, upgrade->answer + upgrade->length, room);

	if (size > 0) {
		upgrade->length += (size_t)size;
		return 0;
	}
	/* the end, or more than any vmswapd says */
	if (size == 0)
		return judge(upgrade, problem);
	if (read(upgrade->timer, &expired, sizeof(expired)) != (ssize_t)sizeof(expired))
		return 0;
	return problem_set(problem, -ETIMEDOUT, "not-vmswapd",
		"it does not answer --layout within %d s", UPGRADE_ANSWER_S);
}

int upgrade_program(const struct upgrade *upgrade)
{
	return upgrade->program;
}

void upgrade_free(struct upgrade *upgrade)
{
	if (!upgrade)
		return;
	if (upgrade->child > 0) {
		/* @control kill */
		(void)kill(upgrade->child, SIGKILL);	/* not reaped, so it is still ours */
		(void)waitpid(upgrade->child, NULL, 0); /* @control wait4 */
	}
	close_fd(upgrade->program);
	close_fd(upgrade->output);
	close_fd(upgrade->timer);
	close_fd(upgrade->epoll);
	free(upgrade);
}
