/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/fork_guard.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sched.h>

#include "ctl/children.h"
#include "ctl/confine.h"
#include "ctl/keeper.h"
#include "engine/child.h"
#include "io/filter.h"
#include "io/uffd.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

/* The supervisor reads as fast as it can: it waits for us. */
#define ROOM_MS 100

struct guard {
	struct keeper *keeper;
	const struct child_inbox *inboxes;
	uint32_t shard_count;
	int worker; /* its pidfd */
};

static pid_t guard_pid;

/* Its descriptors may be closed from now on. False: they may not, ever. */
static bool await_end(int pidfd)
{
	struct pollfd entry = {.fd = pidfd, .events = POLLIN};
	int rc;

	do
		rc = poll(&entry, 1, -1); /* @control poll */
	while (rc < 0 && errno == EINTR);
	return rc == 1 && entry.revents == POLLIN;
}

static int post(struct keeper *keeper, const struct engine_child *child, int uffd)
{
	const struct children_home home = children_home(keeper);
	struct pollfd entry = {.fd = keeper_socket(keeper), .events = POLLOUT};
	const int rc = home.keep(home.context, child, uffd);

	if (rc != -EAGAIN || poll(&entry, 1, ROOM_MS) <= 0) /* @control poll */
		return rc;
	return home.keep(home.context, child, uffd);
}

/* What a dying process left may be anything: what is no descriptor is not sent. */
static void post_children(const struct guard *guard, uint32_t shard)
{
	const struct child_inbox *inbox = &guard->inboxes[shard];
	struct engine_child child = {inbox->tag, shard, inbox->number};
	int uffds[UFFD_BATCH_MAX];
	const uint32_t count = uffd_inbox_children(&inbox->messages, uffds);

	for (uint32_t i = 0; i < count; i++) {
		const int rc = post(guard->keeper, &child, uffds[i]);

		if (rc < 0)
			log_error("a child that was forked when the worker died is lost: %s",
				strerror(-rc));
		child.number++;
	}
}

/* The socket says that all of it is done, so it goes last, with us. */
static void close_others(unsigned int socket)
{
	if (socket > 0)
		(void)close_range(0, socket - 1, 0); /* @control close_range */
	(void)close_range(socket + 1, UINT_MAX, 0);  /* @control close_range */
}

_Noreturn static void run(const struct guard *guard)
{
	(void)prctl(PR_SET_NAME, "vmswapd-guard"); /* @unfiltered prctl */
	if (confine_guard() < 0 || filter_install(FILTER_CONTROL) < 0)
		log_warning("the guard of forked children has more rights than it needs");
	if (await_end(guard->worker)) {
		for (uint32_t i = 0; i < guard->shard_count; i++)
			post_children(guard, i);
		close_others((unsigned int)keeper_socket(guard->keeper));
	}
	_exit(EXIT_SUCCESS);
}

int fork_guard_start(struct keeper *keeper, uint32_t shard_count, struct child_inbox **ret_inboxes)
{
	struct child_inbox *inboxes;
	struct guard guard = {.keeper = keeper, .shard_count = shard_count};
	long pid;

	ASSERT(guard_pid == 0);
	ASSERT(keeper != NULL);
	/* @unfiltered mmap */
	inboxes = mmap(NULL, shard_count * sizeof(*inboxes), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (inboxes == MAP_FAILED)
		return -errno;
	guard.inboxes = inboxes;
	/* @unfiltered pidfd_open */
	guard.worker = (int)errno_of(syscall(SYS_pidfd_open, getpid(), 0));
	if (guard.worker < 0)
		return guard.worker;
	/* @unfiltered clone */
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		run(&guard);
	if (pid < 0)
		return -errno;
	guard_pid = (pid_t)pid;
	*ret_inboxes = inboxes;
	return 0;
}

void fork_guard_stop(void)
{
	if (guard_pid == 0)
		return;
	(void)kill(guard_pid, SIGKILL);	   /* @control kill */
	(void)waitpid(guard_pid, NULL, 0); /* @control wait4 */
	guard_pid = 0;
}
