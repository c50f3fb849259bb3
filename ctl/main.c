/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmswapd: command line, detaching, and which of two programs this process is: the supervisor that
 * a user starts, or the worker that the supervisor starts (keeper_inherited_socket()).
 *
 * Without --foreground the daemon detaches: the parent stays until the child is ready or has
 * failed, and its exit status says which.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/config.h"
#include "ctl/daemon.h"
#include "ctl/keeper.h"
#include "ctl/problem.h"
#include "ctl/rescue/rescue.h"
#include "ctl/supervisor/supervisor.h"
#include "engine/layout.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

#define EXIT_USAGE 2

/* The parent: one byte says ready, the end of the pipe that the child is gone. */
static int wait_for_child(int fd, pid_t child)
{
	char byte;
	int status = 0;

	if (read(fd, &byte, 1) == 1)
		return EXIT_SUCCESS;
	if (waitpid(child, &status, 0) == child && WIFEXITED(status))
		return WEXITSTATUS(status);
	return EXIT_FAILURE;
}

static int run_detached(const struct config *config, char **argv)
{
	int pipe_fds[2];
	pid_t child;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0 || (child = fork()) < 0) {
		log_error("cannot detach: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	if (child > 0) {
		(void)close(pipe_fds[1]);
		return wait_for_child(pipe_fds[0], child);
	}
	(void)close(pipe_fds[0]);
	(void)setsid();
	return supervisor_run(config, argv, pipe_fds[1]);
}

/* What the supervisor started this process for. */
static int run_inherited(struct config *config, int socket)
{
	const enum handover_mode mode = keeper_inherited_mode();

	if (mode >= HANDOVER_RESCUE && mode <= HANDOVER_RESCUE_LAST)
		return rescue_run(config, socket, (uint32_t)(mode - HANDOVER_RESCUE));
	config->is_minimal = mode == HANDOVER_MINIMAL;
	return daemon_run(config, socket);
}

int main(int argc, char **argv)
{
	static struct config config; /* large, and needed to the end */
	struct problem problem;
	int socket;

	if (config_parse(argc, argv, &config, &problem) < 0) {
		(void)fprintf(stderr, "vmswapd: %s\nTry vmswapd --help\n", problem.text);
		return EXIT_USAGE;
	}
	switch (config.action) {
	case CONFIG_HELP: config_usage(stdout); return EXIT_SUCCESS;
	case CONFIG_VERSION: (void)puts("vmswapd " VMSWAP_VERSION); return EXIT_SUCCESS;
	case CONFIG_LAYOUT:
		(void)printf("vmswapd " VMSWAP_VERSION " layout %u\n", LAYOUT_VERSION);
		return EXIT_SUCCESS;
	case CONFIG_RUN: break;
	}
	log_set_level(config.log_level);
	socket = keeper_inherited_socket();
	if (socket >= 0)
		return run_inherited(&config, socket);
	return config.is_foreground ? supervisor_run(&config, argv, -1)
				    : run_detached(&config, argv);
}
