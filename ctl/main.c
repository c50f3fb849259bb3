/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmswapd: command line, hardening, engine, control thread, orderly end.
 *
 * Without --foreground the daemon detaches: the parent stays until the child is ready or has
 * failed, and its exit status says which.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "ctl/config.h"
#include "ctl/manager.h"
#include "ctl/notify.h"
#include "ctl/problem.h"
#include "engine/engine.h"
#include "io/feature.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define EXIT_USAGE 2

static void raise_limit(int resource, rlim_t wanted)
{
	struct rlimit limit;

	if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
		return;
	limit.rlim_cur = wanted;
	limit.rlim_max = MAX(limit.rlim_max, wanted);
	if (setrlimit((__rlimit_resource_t)resource, &limit) == 0)
		return;
	(void)getrlimit((__rlimit_resource_t)resource, &limit);
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit((__rlimit_resource_t)resource, &limit);
}

/* Guest memory passes through here: no core, no debugger, no file that others can read. */
static void harden(void)
{
	const struct rlimit no_core = {0, 0};
	sigset_t signals;

	(void)umask(077);
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)signal(SIGPIPE, SIG_IGN);
	/* the control thread reads these from a signalfd; no other thread may get them */
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
}

/* The daemon must never wait for memory that only it can free. Before any thread starts: inherited.
 */
static void stay_in_memory(void)
{
	raise_limit(RLIMIT_NOFILE, 1048576);
	raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		log_warning(
			"the daemon's memory cannot be locked (%s): under memory pressure guests "
			"may wait for the kernel's own swap",
			strerror(errno));
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		log_warning(
			"no PR_SET_IO_FLUSHER (%s): under memory pressure the daemon may wait for "
			"itself",
			strerror(errno));
}

static int make_swap_dir(const struct config *config)
{
	if (config->store.kind != SWAPFILE_UNNAMED ||
		strcmp(config->store.path, CONFIG_SWAP_DIR) != 0)
		return 0;
	return mkdir(CONFIG_SWAP_DIR, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int start_engine(const struct config *config, struct engine **ret_engine)
{
	struct engine_config engine = {
		.shard_count = config->shard_count,
		.cpus = config->cpu_count > 0 ? config->cpus : NULL,
		.poll_us = config->poll_us,
		.store = config->store,
	};
	int rc = make_swap_dir(config);

	if (rc == 0)
		rc = engine_start(&engine, ret_engine);
	if (rc == -EOPNOTSUPP)
		log_error("%s: its file system has no O_DIRECT: choose another place for the pages",
			config->store.path);
	else if (rc == -EBUSY)
		log_error("%s is in use, by another daemon or a mount", config->store.path);
	else if (rc < 0)
		log_error("cannot start with swap store %s: %s", config->store.path, strerror(-rc));
	return rc;
}

static void warn_of_slow_io(int refusal)
{
	if (refusal == 0)
		return;
	log_warning(
		"no io_uring (%s%s): threads do the disk I/O, and swapped pages come back slower",
		refusal == -EOPNOTSUPP ? "--disable-feature" : strerror(-refusal),
		refusal == -EPERM ? "; see sysctl kernel.io_uring_disabled" : "");
}

static int open_manager(
	const struct config *config, struct engine *engine, struct manager **ret_manager)
{
	int rc = manager_open(config, engine, ret_manager);

	if (rc == -EADDRINUSE)
		log_error("another vmswapd serves %s", config->socket_path);
	else if (rc < 0)
		log_error("cannot open %s: %s", config->socket_path, strerror(-rc));
	return rc;
}

/* Tells the parent that waits, and lets go of the terminal. */
static void report_ready(int ready_fd)
{
	int null;

	(void)notify_send("READY=1");
	if (ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(null, STDERR_FILENO);
		(void)close(null);
	}
	(void)!write(ready_fd, "", 1);
	(void)close(ready_fd);
}

static int run(const struct config *config, int ready_fd)
{
	struct engine *engine = NULL;
	struct manager *manager = NULL;
	int rc;

	harden();
	stay_in_memory();
	feature_disable(config->disabled_features);
	rc = start_engine(config, &engine);
	if (rc == 0)
		rc = open_manager(config, engine, &manager);
	if (rc == 0)
		warn_of_slow_io(engine_io_refusal(engine));
	if (rc < 0) {
		engine_stop(engine);
		return EXIT_FAILURE;
	}
	log_info("vmswapd " VMSWAP_VERSION ", %u shards, pages in %s, socket %s",
		config->shard_count, config->store.path, config->socket_path);
	report_ready(ready_fd);
	manager_run(manager);
	manager_close(manager);
	engine_stop(engine);
	log_info("ended");
	return EXIT_SUCCESS;
}

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

static int run_detached(const struct config *config)
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
	return run(config, pipe_fds[1]);
}

int main(int argc, char **argv)
{
	struct config config;
	struct problem problem;

	if (config_parse(argc, argv, &config, &problem) < 0) {
		(void)fprintf(stderr, "vmswapd: %s\nTry vmswapd --help\n", problem.text);
		return EXIT_USAGE;
	}
	switch (config.action) {
	case CONFIG_HELP: config_usage(stdout); return EXIT_SUCCESS;
	case CONFIG_VERSION: (void)puts("vmswapd " VMSWAP_VERSION); return EXIT_SUCCESS;
	case CONFIG_RUN: break;
	}
	log_set_level(config.log_level);
	return config.is_foreground ? run(&config, -1) : run_detached(&config);
}
