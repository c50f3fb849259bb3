/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread takes first requests and starts a thread for each; it never waits for a target.
 * A thread that is done marks its slot and wakes the main thread, which joins it and only then
 * closes the session's socket: the worker that sees it closed knows that everything the thread
 * traced has been let go.
 */
#include "ctl/injector_process.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "ctl/injector.h"
#include "ctl/injector_session.h"
#include "ctl/injector_wire.h"
#include "ctl/problem.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/* One a VM at work, one a late call: far more than there are VMs on a host. */
#define SLOTS_MAX	   256u
#define TRACER_STACK_BYTES (256 * KIB)

enum slot_state { SLOT_FREE, SLOT_RUNS, SLOT_ENDED };

struct slot {
	_Atomic(enum slot_state) state;
	pthread_t thread;
	struct injector_session session;
};

/* Main thread only, but for the states. */
static struct slot slots[SLOTS_MAX];
static int wake_fd = -1;

static void *tracer_main(void *context)
{
	struct slot *slot = context;

	injector_session_run(&slot->session);
	/* pairs with reap() */
	atomic_store_explicit(&slot->state, SLOT_ENDED, memory_order_release);
	(void)eventfd_write(wake_fd, 1);
	return NULL;
}

static struct slot *find_free(void)
{
	for (uint32_t i = 0; i < SLOTS_MAX; i++)
		if (atomic_load_explicit(&slots[i].state, memory_order_relaxed) == SLOT_FREE)
			return &slots[i];
	return NULL;
}

static int start_tracer(struct slot *slot)
{
	pthread_attr_t attributes;
	int error;

	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, TRACER_STACK_BYTES);
	error = pthread_create(&slot->thread, &attributes, tracer_main, slot);
	(void)pthread_attr_destroy(&attributes);
	return -error;
}

static void refuse(const struct injector_request *first, const int *fds, int error)
{
	struct injector_answer answer = {.result = error};
	const struct injector_message message = {.bytes = &answer, .size_bytes = sizeof(answer)};

	(void)problem_set(
		&answer.problem, error, "no-thread", "no tracer thread: %s", strerror(-error));
	(void)injector_send(fds[0], &message);
	close_fds(fds, injector_first_fds(first));
}

static void begin(const struct injector_request *first, const int *fds)
{
	struct slot *slot = find_free();
	int error;

	if (!slot) {
		refuse(first, fds, -ENOSPC);
		return;
	}
	slot->session = (struct injector_session){
		.socket = fds[0],
		.pidfd = fds[1],
		.uffd = first->uffd < 0 ? -1 : fds[2],
		.request = *first,
	};
	atomic_store_explicit(&slot->state, SLOT_RUNS, memory_order_relaxed);
	error = start_tracer(slot);
	if (error) {
		atomic_store_explicit(&slot->state, SLOT_FREE, memory_order_relaxed);
		refuse(first, fds, error);
	}
}

/* Joins what has ended; how many run. */
static uint32_t reap(void)
{
	uint32_t running = 0;

	for (uint32_t i = 0; i < SLOTS_MAX; i++) {
		struct slot *slot = &slots[i];
		/* pairs with tracer_main() */
		const enum slot_state state =
			atomic_load_explicit(&slot->state, memory_order_acquire);

		running += state == SLOT_RUNS;
		if (state != SLOT_ENDED)
			continue;
		(void)pthread_join(slot->thread, NULL);
		(void)close(slot->session.pidfd);
		close_fd(slot->session.uffd);
		(void)close(slot->session.socket);
		atomic_store_explicit(&slot->state, SLOT_FREE, memory_order_relaxed);
	}
	return running;
}

/* One first request; false when the worker has gone. */
static bool take_first(int socket)
{
	struct injector_request first = {0};
	int fds[INJECTOR_FIRST_FDS];
	struct injector_message message = {.bytes = &first,
		.size_bytes = sizeof(first),
		.fds = fds,
		.fd_count = ARRAY_SIZE(fds)};
	const int error = injector_receive(socket, &message, 0);

	if (error)
		return error != -EPIPE;
	/* Without a free descriptor one is lost, and the worker sees the socket closed. */
	if (message.fd_count == injector_first_fds(&first))
		begin(&first, fds);
	else
		close_fds(fds, message.fd_count);
	return true;
}

/* Serves until the worker has gone and everything is finished. */
static void serve(int socket)
{
	struct pollfd entries[] = {
		{.fd = wake_fd, .events = POLLIN},
		{.fd = socket, .events = POLLIN},
	};
	eventfd_t ignored;

	while (entries[1].fd >= 0 || reap() > 0) {
		if (poll(entries, ARRAY_SIZE(entries), -1) < 0)
			continue;
		if (entries[0].revents)
			(void)eventfd_read(wake_fd, &ignored);
		(void)reap();
		if (entries[1].fd >= 0 && entries[1].revents && !take_first(socket))
			entries[1].fd = -1;
	}
}

static void avoid_oom_killer(void)
{
	static const char least[] = "-1000";
	CLEANUP_FD int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, least, strlen(least));
}

/* Keeps @socket and nothing else; the standard descriptors lead nowhere. */
static int close_others(int socket)
{
	const int kept = fcntl(socket, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (kept < 0 || null < 0)
		return -1;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	if (kept > STDERR_FILENO + 1)
		(void)close_range(STDERR_FILENO + 1, (unsigned int)kept - 1, 0);
	(void)close_range((unsigned int)kept + 1, UINT_MAX, 0);
	return kept;
}

static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* What fails here makes it less safe, not wrong. */
static void harden(void)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	(void)setsid();
	(void)!chdir("/");
	(void)prctl(PR_SET_NAME, INJECTOR_NAME);
	avoid_oom_killer();
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	/* A target may serve a file system: an allocation of ours must not wait for that. */
	(void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	raise_descriptors();
}

/*
 * Locking all memory, so that none is read from a disk while a target stands, takes 10 ms or more
 * of a CPU. Guests wait for that while a worker takes over: it says when they do no more.
 */
static int lock_memory_when_told(int socket)
{
	uint32_t told;
	struct injector_message message = {.bytes = &told, .size_bytes = sizeof(told)};
	struct pollfd entry = {.fd = socket, .events = POLLIN};
	int error;

	(void)poll(&entry, 1, -1);
	error = injector_receive(socket, &message, 0);
	if (!error)
		(void)mlockall(MCL_CURRENT | MCL_FUTURE);
	return error;
}

static int report_ready(int socket)
{
	uint32_t ready = 1;
	const struct injector_message message = {.bytes = &ready, .size_bytes = sizeof(ready)};

	return injector_send(socket, &message);
}

_Noreturn void injector_process_run(int socket)
{
	int kept;

	harden();
	kept = close_others(socket);
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kept < 0 || wake_fd < 0 || lock_memory_when_told(kept) < 0 || report_ready(kept) < 0)
		_exit(EXIT_FAILURE);
	serve(kept);
	_exit(EXIT_SUCCESS);
}
