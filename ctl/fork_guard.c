/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/fork_guard.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sched.h>

#include "ctl/children.h"
#include "ctl/confine.h"
#include "ctl/guard_state.h"
#include "ctl/keeper.h"
#include "ctl/procfs.h"
#include "ctl/state_files.h"
#include "io/filter.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

/* The supervisor reads as fast as it can: it waits for us. */
#define ROOM_MS 100
/* There is no event for the end of a child that waits for nobody. */
#define LOOK_MS 1000

/* Constant after fork_guard_start(); the guard has a copy. */
static struct {
	struct keeper *keeper;
	struct shared memory;
	struct guard_state *state;
	int worker; /* its pidfd */
	pid_t pid;  /* 0: there is none */
} guard;

/* Its descriptors may be closed from now on. False: they may not, ever. */
static bool await_worker_end(void)
{
	struct pollfd entry = {.fd = guard.worker, .events = POLLIN};
	int rc;

	do
		rc = poll(&entry, 1, -1); /* @control poll */
	while (rc < 0 && errno == EINTR);
	return rc == 1 && entry.revents == POLLIN;
}

static bool has_supervisor(void)
{
	struct pollfd entry = {.fd = keeper_socket(guard.keeper)};

	return poll(&entry, 1, 0) == 0; /* @control poll */
}

static int post(const struct engine_child *child, int uffd)
{
	const struct children_home home = children_home(guard.keeper);
	struct pollfd entry = {.fd = keeper_socket(guard.keeper), .events = POLLOUT};
	const int rc = home.keep(home.context, child, uffd);

	if (rc != -EAGAIN || poll(&entry, 1, ROOM_MS) <= 0) /* @control poll */
		return rc;
	return home.keep(home.context, child, uffd);
}

static int record(const struct engine_child *child, int uffd)
{
	for (uint32_t i = 0; i < SERVED_MAX; i++) {
		struct child_record *place = &guard.state->board[child->shard].served[i];

		if (atomic_load_explicit(&place->tag, memory_order_relaxed) != 0)
			continue;
		child_record_set(place, child->tag, child->number, uffd);
		return 0;
	}
	return -ENOSPC;
}

/* What a dying process left may be anything: what is no descriptor is not passed on. */
static void each_unserved(int (*pass_on)(const struct engine_child *child, int uffd))
{
	int uffds[UFFD_BATCH_MAX];

	for (uint32_t shard = 0; shard < guard.state->shard_count; shard++) {
		const struct child_board *board = &guard.state->board[shard];
		struct engine_child child = {board->tag, shard, board->number};
		const uint32_t count = uffd_inbox_children(&board->messages, uffds);

		for (uint32_t i = 0; i < count; i++, child.number++) {
			const int rc = uffds[i] < 0 ? 0 : pass_on(&child, uffds[i]);

			if (rc < 0)
				log_error("a child that was forked when the worker died is lost: "
					  "%s",
					strerror(-rc));
		}
	}
}

static int compare(const void *left, const void *right)
{
	const int a = *(const int *)left;
	const int b = *(const int *)right;

	return (a > b) - (a < b);
}

/* Of @kept, in order, none is closed. */
static void close_all_but(const int *kept, uint32_t count)
{
	unsigned int first = 0;

	for (uint32_t i = 0; i < count; i++) {
		const unsigned int fd = (unsigned int)kept[i];

		if (fd > first)
			(void)close_range(first, fd - 1, 0); /* @control close_range */
		first = MAX(first, fd + 1);
	}
	(void)close_range(first, UINT_MAX, 0); /* @control close_range */
}

/* The socket says that all of it is done, so it goes last, with us. */
static void hand_over(void)
{
	const int socket = keeper_socket(guard.keeper);

	each_unserved(post);
	close_all_but(&socket, 1);
}

/* How many live; descriptors of those that have ended are closed. */
static uint32_t list_children(int *ret_fds)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < guard.state->shard_count * SERVED_MAX; i++) {
		struct child_record *place =
			&guard.state->board[i / SERVED_MAX].served[i % SERVED_MAX];

		if (atomic_load_explicit(&place->tag, memory_order_relaxed) == 0)
			continue;
		if (place->uffd < 0 || uffd_is_orphan(place->uffd)) {
			atomic_store_explicit(&place->tag, 0, memory_order_release);
			close_fd(place->uffd);
		} else {
			ret_fds[count++] = place->uffd;
		}
	}
	return count;
}

static void hold(void)
{
	static int fds[SHARDS_MAX * SERVED_MAX];
	uint32_t count;

	each_unserved(record);
	count = list_children(fds);
	qsort(fds, count, sizeof(fds[0]), compare);
	close_all_but(fds, count);
	while (list_children(fds) > 0)
		(void)poll(NULL, 0, LOOK_MS); /* @control poll */
}

_Noreturn static void run(void)
{
	(void)prctl(PR_SET_NAME, "vmswapd-guard"); /* @unfiltered prctl */
	if (confine_guard() < 0 || filter_install(FILTER_CONTROL) < 0)
		log_warning("the guard of forked children has more rights than it needs");
	if (!await_worker_end())
		_exit(EXIT_FAILURE);
	if (has_supervisor())
		hand_over();
	else
		hold();
	_exit(EXIT_SUCCESS);
}

static int start(void)
{
	struct procfs_stat stat;
	long pid;
	int rc;

	/* @unfiltered pidfd_open */
	guard.worker = (int)errno_of(syscall(SYS_pidfd_open, getpid(), 0));
	if (guard.worker < 0)
		return guard.worker;
	/* @unfiltered clone */
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		run();
	if (pid < 0)
		return -errno;
	guard.pid = (pid_t)pid;
	rc = procfs_stat(guard.pid, 0, &stat);
	guard.state->start_time = rc < 0 ? 0 : stat.start_time;
	guard.state->pid = guard.pid;
	return 0;
}

int fork_guard_start(struct keeper *keeper, uint32_t shard_count, struct child_board **ret_boards)
{
	int rc;

	ASSERT(guard.pid == 0);
	ASSERT(keeper != NULL);
	guard.keeper = keeper;
	rc = guard_state_make(shard_count, &guard.memory);
	if (rc < 0)
		return rc;
	guard.state = guard.memory.memory;
	rc = start();
	if (rc < 0)
		return rc;
	*ret_boards = guard.state->board;
	return 0;
}

void fork_guard_relieve(const struct state_files *files)
{
	struct guard_found found;
	const bool has_found = guard_state_find(files, &found) == 0;

	/* In this order: who dies in between leaves two guards, and both have the children. */
	if (guard.pid != 0)
		(void)state_files_keep_children(files, guard.memory.fd);
	if (!has_found)
		return;
	guard_state_end(&found);
	guard_state_close(&found);
}

void fork_guard_stop(void)
{
	if (guard.pid == 0)
		return;
	(void)kill(guard.pid, SIGKILL);	   /* @control kill */
	(void)waitpid(guard.pid, NULL, 0); /* @control wait4 */
	guard.pid = 0;
}
