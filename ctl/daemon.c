/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/daemon.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/adopt.h"
#include "ctl/children.h"
#include "ctl/attach.h"
#include "ctl/config.h"
#include "ctl/confine.h"
#include "ctl/fork_guard.h"
#include "ctl/injector.h"
#include "ctl/keeper.h"
#include "ctl/manager.h"
#include "ctl/notify.h"
#include "ctl/problem.h"
#include "ctl/self.h"
#include "ctl/state_files.h"
#include "engine/engine.h"
#include "engine/successor.h"
#include "io/feature.h"
#include "io/filter.h"
#include "io/shared.h"
#include "io/storename.h"
#include "queue/base/err.h"
#include "queue/base/log.h"
#include "queue/base/probe.h"

/* The control thread reads these from a signalfd; no other thread may get them. */
static void block_signals(void)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
}

static int prepare_swap_dir(const struct config *config)
{
	if (config->store.kind != SWAPFILE_UNNAMED)
		return 0;
	/* @unfiltered mkdir */
	if (strcmp(config->store.path, CONFIG_SWAP_DIR) == 0 && mkdir(CONFIG_SWAP_DIR, 0700) < 0 &&
		errno != EEXIST)
		return -errno;
	storename_sweep(config->store.path);
	return 0;
}

/* So that a successor finds its parts. */
static int keep_engine(
	struct keeper *keeper, const struct engine *engine, const struct swapfile_config *store)
{
	const int rc = ledger_keep_engine(keeper, engine, store);

	if (rc < 0)
		log_error("the supervisor cannot hold the store: %s", strerror(-rc));
	return rc;
}

/* Guests are served without a guard as well. */
static struct children_home open_children(const struct config *config, struct keeper *keeper)
{
	struct children_home children = children_home(keeper);
	const int rc = keeper ? fork_guard_start(keeper, config->shard_count, &children.boards) : 0;

	if (rc < 0)
		log_warning("no guard of children that VMMs fork: %s", strerror(-rc));
	return children;
}

/* A new one, or a predecessor's with its VMs, whose faults are served when this returns. */
static int start_engine(const struct config *config, struct keeper *keeper,
	struct engine **ret_engine, struct adopted *ret_adopted)
{
	int parts[ENGINE_PARTS];
	struct engine_config engine = {
		.shard_count = config->shard_count,
		.cpus = config->cpu_count > 0 ? config->cpus : NULL,
		.poll_us = config->poll_us,
		.store = config->store,
		.is_encrypted = config->is_encrypted,
		.is_plain = config->is_minimal,
		.children = open_children(config, keeper),
	};
	const bool is_successor = ledger_find_engine(keeper, parts);
	int rc = prepare_swap_dir(config);

	engine.parts = is_successor ? parts : NULL;
	if (rc == 0)
		rc = engine_start(&engine, ret_engine);
	if (rc == -EOPNOTSUPP)
		log_error("%s: its file system has no O_DIRECT: choose another place for the pages",
			config->store.path);
	else if (rc == -EBUSY)
		log_error("%s is in use, by another daemon or a mount", config->store.path);
	else if (rc < 0)
		log_error("cannot start with swap store %s: %s", config->store.path, strerror(-rc));
	if (rc < 0)
		return rc;
	if (!is_successor)
		return keep_engine(keeper, *ret_engine, &config->store);
	rc = adopt_open(keeper, *ret_engine, ret_adopted);
	return rc < 0 ? rc : adopt_resume(*ret_engine, ret_adopted);
}

/*
 * From now on what is kept has names for --recover, where the state directory is of a tmpfs. @files
 * stays in use to the end.
 */
static void open_state_files(const struct config *config, struct state_files *files)
{
	const int rc = state_files_open_as_worker(config->state_dir, files);

	if (rc < 0) {
		log_info("guests do not outlive supervisor and worker both: %s: %s",
			config->state_dir,
			rc == -EMEDIUMTYPE ? "not of a tmpfs (--state-dir names another folder)"
					   : strerror(-rc));
		return;
	}
	shared_set_home(files->folder, state_files_room(files));
	ledger_set_files(files);
}

static void warn_of_slow_io(const struct config *config, int refusal)
{
	if (refusal == 0 || config->is_minimal)
		return;
	log_warning(
		"no io_uring (%s%s): threads do the disk I/O, and swapped pages come back slower",
		refusal == -EOPNOTSUPP ? "--disable-feature" : strerror(-refusal),
		refusal == -EPERM ? "; see sysctl kernel.io_uring_disabled" : "");
}

static int open_manager(const struct config *config, struct engine *engine, struct keeper *keeper,
	struct manager **ret_manager)
{
	int rc = manager_open(config, engine, keeper, ret_manager);

	if (rc == -EADDRINUSE)
		log_error("another vmswapd serves %s", config->socket_path);
	else if (rc < 0)
		log_error("cannot open %s: %s", config->socket_path, strerror(-rc));
	return rc;
}

static int adopt_all(struct manager *manager, struct adopted *adopted)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < adopted->count; i++) {
		struct attachment *attachment = adopted->attachment[i];

		rc = manager_adopt(manager, ledger_vm(&attachment->ledger)->name, attachment);
	}
	if (rc < 0)
		log_error("cannot go on with the VMs that are kept: %s", strerror(-rc));
	return rc;
}

static int open_keeper(int supervisor_fd, struct keeper **ret_keeper)
{
	int rc = keeper_open(supervisor_fd, ret_keeper);

	if (rc < 0)
		log_error("the supervisor does not hand over what it holds: %s", strerror(-rc));
	return rc;
}

/*
 * It is started first of all, as it must have nothing of what the daemon opens later, and gets
 * ready after the engine, for which guests wait.
 */
static int with_injector(const struct config *config, int (*step)(struct problem *problem))
{
	struct problem problem;
	const int rc = step(&problem);

	if (rc < 0)
		log_error("%s", problem.text);
	/* Minimal mode does without: VMMs that are detached then keep their copies. */
	return config->is_minimal ? 0 : rc;
}

static int confine(int (*step)(void))
{
	const int rc = step();

	if (rc < 0)
		log_error("privileges cannot be given up: %s", strerror(-rc));
	return rc;
}

/* Before the first thread: each takes its filter when it starts. */
static void prepare_filters(const struct config *config)
{
	if (filter_set_mode(config->seccomp) < 0)
		log_warning("no seccomp filters: the kernel has none, or this is a build with a "
			    "sanitizer, which makes calls of its own");
}

/* The control thread's, which the threads of the VMs inherit. */
static int install_filter(void)
{
	const int rc = filter_install(FILTER_CONTROL);

	if (rc < 0)
		log_error("no seccomp filter can be installed: %s (--seccomp off does without)",
			strerror(-rc));
	return rc;
}

/* Whoever started the daemon may go on, and has the terminal back. */
static void report_ready(const struct config *config, struct keeper *keeper)
{
	if (!keeper) {
		(void)notify_send("READY=1");
		return;
	}
	if (!config->is_foreground)
		self_leave_terminal();
	(void)keeper_ready(keeper);
}

/* The keeper is what they speak through to the end. */
static void stop_all(struct manager *manager, struct engine *engine)
{
	manager_close(manager);
	engine_stop(engine);
	injector_stop();
	fork_guard_stop();
}

int daemon_run(const struct config *config, int supervisor_fd)
{
	static struct state_files files = {.folder = -1};
	struct keeper *keeper = NULL;
	struct engine *engine = NULL;
	struct manager *manager = NULL;
	struct adopted adopted = {.count = 0};
	int rc;

	feature_disable(config->disabled_features);
	if (config->is_minimal)
		feature_disable(FEATURE_IO_URING | FEATURE_SHORT_SLICE);
	self_harden();
	block_signals();
	if (with_injector(config, injector_start) < 0)
		return EXIT_FAILURE;
	self_raise_files(SELF_WORKER_FILES);
	self_stay_in_memory();
	rc = open_keeper(supervisor_fd, &keeper);
	PROBE(start, fetched);
	if (keeper)
		open_state_files(config, &files);
	if (rc == 0)
		rc = confine(confine_process);
	prepare_filters(config);
	if (rc == 0)
		rc = start_engine(config, keeper, &engine, &adopted);
	PROBE(start, serving);
	if (rc == 0)
		fork_guard_relieve(&files);
	if (rc == 0)
		rc = with_injector(config, injector_await);
	if (rc == 0)
		rc = open_manager(config, engine, keeper, &manager);
	/* Before adopt_all(), which starts the VMs' threads: they inherit what is left. */
	if (rc == 0)
		rc = confine(confine_worker);
	if (rc == 0)
		rc = install_filter();
	if (rc == 0)
		rc = adopt_all(manager, &adopted);
	PROBE(start, listed);
	/* Whoever needed one has a descriptor of its own. */
	keeper_release(keeper);
	/* What is kept must stay as it is: nothing is unregistered on the way out. */
	if (rc < 0 && adopted.count > 0)
		_exit(EXIT_FAILURE);
	if (rc < 0) {
		stop_all(manager, engine);
		keeper_close(keeper);
		return EXIT_FAILURE;
	}
	log_info("vmswapd " VMSWAP_VERSION ", %u shards, pages in %s, socket %s",
		config->shard_count, config->store.path, config->socket_path);
	warn_of_slow_io(config, engine_io_refusal(engine));
	if (config->is_minimal)
		log_warning("minimal mode: faults are served and memory comes back, nothing else");
	report_ready(config, keeper);
	PROBE(start, ready);
	manager_run(manager);
	stop_all(manager, engine);
	keeper_bye(keeper);
	keeper_close(keeper);
	log_info("ended");
	return EXIT_SUCCESS;
}
