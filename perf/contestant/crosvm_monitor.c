/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crosvm-style: the monitor's process. Its main thread waits on one epoll for faults, for commands
 * and for the end of a job; a step of swap-out is done when there is none of these.
 */
#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/guest.h"
#include "perf/contestant/crosvm.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

enum event_source {
	FROM_FAULTS,
	FROM_SOCKET,
	FROM_JOB,
};

/* What runs beside faults: trim and swap-in on a thread of their own, swap-out in the loop. */
struct job {
	enum crosvm_command command;
	struct crosvm_monitor *monitor;
	pthread_t thread;
	int ended; /* eventfd */
	uint64_t begin_ns;
	uint64_t end_ns;
	int64_t pages; /* or -errno */
};

struct loop {
	struct crosvm_monitor monitor;
	struct job job;
	int epoll;
	int socket;
	bool is_swapping_out;
	pthread_attr_t unpinned; /* jobs may run where the main thread, which is pinned, does not */
};

/* ---- jobs ---- */

static int64_t run_trim(struct crosvm_monitor *monitor)
{
	int64_t sum = 0;

	for (uint64_t page = 0; page < monitor->pages.count; page += CROSVM_TRIM_PAGES) {
		const int64_t dropped = crosvm_trim_batch(monitor, page);

		if (dropped < 0)
			return dropped;
		sum += dropped;
	}
	return sum;
}

static int64_t run_swap_in(struct crosvm_monitor *monitor)
{
	int64_t sum = 0;
	int64_t pages = crosvm_swap_in_step(monitor);

	for (; pages > 0; pages = crosvm_swap_in_step(monitor))
		sum += pages;
	return pages < 0 ? pages : sum;
}

static void *job_main(void *argument)
{
	struct job *job = argument;

	job->pages =
		job->command == CROSVM_TRIM ? run_trim(job->monitor) : run_swap_in(job->monitor);
	job->end_ns = clock_ns();
	(void)eventfd_write(job->ended, 1);
	return NULL;
}

static void answer(const struct loop *loop, int64_t pages, uint64_t elapsed_ns)
{
	handler_answer(loop->socket, &(struct handler_answer){
					     .result = (int)MIN(pages, 0),
					     .pages = (uint64_t)MAX(pages, 0),
					     .elapsed_ns = elapsed_ns,
				     });
}

static void end_job(struct loop *loop)
{
	struct job *job = &loop->job;
	eventfd_t count;

	(void)eventfd_read(job->ended, &count);
	(void)pthread_join(job->thread, NULL);
	if (job->command == CROSVM_DISABLE && job->pages >= 0) {
		const int error = crosvm_disable(&loop->monitor);

		if (error < 0)
			job->pages = error;
	}
	answer(loop, job->pages, job->end_ns - job->begin_ns);
}

/*
 * What the file's mapping holds is let go of, not counted: the benchmark wants the page cache empty
 * next, and a page that is mapped would stay.
 */
static void step_swap_out(struct loop *loop)
{
	struct job *job = &loop->job;
	const int64_t pages = crosvm_swap_out_step(&loop->monitor);

	if (pages > 0) {
		job->pages += pages;
		return;
	}
	job->end_ns = clock_ns();
	loop->is_swapping_out = false;
	(void)madvise(loop->monitor.copies, loop->monitor.size_bytes, MADV_DONTNEED);
	answer(loop, pages < 0 ? pages : job->pages, job->end_ns - job->begin_ns);
}

/* ---- commands ---- */

static void run_enable(struct loop *loop)
{
	const uint64_t begin_ns = clock_ns();
	const int64_t pages = crosvm_enable(&loop->monitor);

	answer(loop, pages, clock_ns() - begin_ns);
}

static void begin_job(struct loop *loop, enum crosvm_command command)
{
	struct job *job = &loop->job;
	int error;

	/* Ready: there is nothing to do. */
	if (!loop->monitor.is_enabled) {
		answer(loop, 0, 0);
		return;
	}
	job->command = command;
	job->pages = 0;
	job->begin_ns = clock_ns();
	loop->is_swapping_out = command == CROSVM_SWAP_OUT;
	if (loop->is_swapping_out)
		return;
	error = pthread_create(&job->thread, &loop->unpinned, job_main, job);
	if (error != 0)
		answer(loop, -error, 0);
}

/* False: the benchmark is gone. It sends a command only when the last one was answered. */
static bool take_command(struct loop *loop)
{
	uint32_t command;

	if (handler_next(loop->socket, &command) < 0)
		return false;
	ASSERT(command <= CROSVM_DISABLE);
	if (command == CROSVM_ENABLE)
		run_enable(loop);
	else
		begin_job(loop, (enum crosvm_command)command);
	return true;
}

static bool take_event(struct loop *loop, const struct epoll_event *event)
{
	switch ((enum event_source)event->data.u32) {
	case FROM_FAULTS: crosvm_serve(&loop->monitor); return true;
	case FROM_JOB: end_job(loop); return true;
	case FROM_SOCKET: return take_command(loop);
	}
	UNREACHABLE();
}

static void run_loop(struct loop *loop)
{
	struct epoll_event events[3];
	bool goes_on = true;

	while (goes_on) {
		const int count = epoll_wait(
			loop->epoll, events, ARRAY_SIZE(events), loop->is_swapping_out ? 0 : -1);

		if (count < 0 && errno != EINTR)
			handler_give_up(loop->monitor.self, "epoll_wait", -errno);
		for (int i = 0; i < count && goes_on; i++)
			goes_on = take_event(loop, &events[i]);
		if (count == 0)
			step_swap_out(loop);
	}
}

/* ---- start ---- */

static int watch(const struct loop *loop, int fd, enum event_source source)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};

	return errno_of(epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event));
}

static int open_events(struct loop *loop)
{
	int error;

	loop->epoll = errno_of(epoll_create1(EPOLL_CLOEXEC));
	loop->job.ended = errno_of(eventfd(0, EFD_CLOEXEC));
	if (loop->epoll < 0 || loop->job.ended < 0)
		return MIN(loop->epoll, loop->job.ended);
	error = watch(loop, loop->monitor.uffd, FROM_FAULTS);
	if (error == 0)
		error = watch(loop, loop->socket, FROM_SOCKET);
	return error < 0 ? error : watch(loop, loop->job.ended, FROM_JOB);
}

static int note_cpus(struct loop *loop)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return -errno;
	(void)pthread_attr_init(&loop->unpinned);
	return -pthread_attr_setaffinity_np(&loop->unpinned, sizeof(cpus), &cpus);
}

static int start(const struct contestant *self, int socket, struct loop *loop)
{
	const struct crosvm *crosvm = self->state;
	struct crosvm_monitor *monitor = &loop->monitor;
	int error;

	*monitor = (struct crosvm_monitor){
		.self = self,
		.uffd = crosvm->uffd,
		.memfd = client_memfd(self->client),
		.file = crosvm->file,
		.is_random = self->setup.option != NULL,
		.address = client_address(self->client),
		.size_bytes = client_pages(self->client) * PAGE_BYTES,
		.turn = PTHREAD_MUTEX_INITIALIZER,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	loop->socket = socket;
	loop->job.monitor = monitor;
	error = guest_alias_map(monitor->memfd, 0, monitor->size_bytes, &monitor->guest);
	if (error < 0)
		return error;
	monitor->workers = crosvm_workers_new(monitor->guest);
	if (!monitor->workers)
		return -ENOMEM;
	error = note_cpus(loop);
	contestant_pin_handler(self);
	return error < 0 ? error : open_events(loop);
}

/* Nothing is freed: the process ends with this. */
void crosvm_monitor_main(const struct contestant *self, int socket)
{
	struct loop loop = {0};
	const int error = start(self, socket, &loop);

	handler_ready(socket, error);
	if (error == 0)
		run_loop(&loop);
}
