/* SPDX-License-Identifier: Apache-2.0 */
/* The child's half of a client: its first thread takes commands, others touch. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <linux/userfaultfd.h>

#include "perf/client/command.h"
#include "perf/client/content.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

struct toucher {
	const struct child *child;
	const struct touch *touch;
	pthread_barrier_t *barrier;
	uint64_t start;	   /* first place in the order */
	uint64_t count;	   /* places */
	uint64_t sample;   /* first place for samples */
	uint64_t capacity; /* samples */
	uint64_t begin_ns; /* of the first touch */
	uint64_t end_ns;   /* of the last touch */
	uint64_t touches;
	uint64_t samples;
	uint64_t bad_pages;
};

static uint64_t process_cpu_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static void pin(int cpu)
{
	cpu_set_t cpus;

	if (cpu == CLIENT_ANY_CPU)
		return;
	CPU_ZERO(&cpus);
	CPU_SET((unsigned)cpu, &cpus);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus);
}

static void fill(const struct child *child)
{
	const uint64_t stride = MAX(child->config->fill_stride, 1u);

	for (uint64_t page = 0; page < child->config->pages; page += stride) {
		uint64_t *word = child->memory + page * CONTENT_WORDS;

		if (content_page_is_zero(child->config, page))
			memset(word, 0, PAGE_BYTES);
		else
			content_fill(child->config, page, word);
	}
}

int child_map(struct child *child, int memfd)
{
	const uint64_t size = child->config->pages * PAGE_BYTES;
	const int flags = memfd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED | MAP_NORESERVE;

	if (child->config->map) {
		void *memory = NULL;
		const int error = child->config->map(child->config->map_argument, size, &memory);

		child->memory = memory;
		return error;
	}
	child->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, memfd, 0);
	if (child->memory == MAP_FAILED)
		return -errno;
	fill(child);
	return 0;
}

static void pause_us(uint32_t duration_us)
{
	const struct timespec duration = {
		.tv_sec = duration_us / 1000000,
		.tv_nsec = (long)(duration_us % 1000000) * (long)NS_PER_US,
	};

	(void)nanosleep(&duration, NULL);
}

static void keep_sample(struct toucher *toucher, uint64_t begin_ns, uint64_t end_ns)
{
	struct client_shared *shared = toucher->child->shared;
	const uint64_t sample = toucher->sample + toucher->samples;

	if (toucher->samples == toucher->capacity)
		return;
	if (toucher->touch->is_watch && end_ns - begin_ns < CLIENT_STALL_US * NS_PER_US)
		return;
	shared->latency_ns[sample] = (uint32_t)MIN(end_ns - begin_ns, UINT32_MAX);
	shared->begin_us[sample] = (uint32_t)((begin_ns - toucher->begin_ns) / NS_PER_US);
	toucher->samples++;
}

/* One touch, measured while there is room for its sample. */
static void touch_page(struct toucher *toucher, uint64_t page)
{
	volatile uint64_t *word = toucher->child->memory + page * CONTENT_WORDS;
	const uint64_t before = toucher->touch->is_watch ? toucher->end_ns : clock_ns();

	/* One access: a load of its own would fault first, as a reading touch does. */
	if (toucher->touch->is_write)
		(void)__atomic_fetch_add(&word[0], 1, __ATOMIC_RELAXED);
	else
		(void)word[0];
	toucher->end_ns = clock_ns();
	keep_sample(toucher, before, toucher->end_ns);
	toucher->bad_pages += !content_is_right(toucher->child->config, page, word);
	toucher->touches++;
}

static bool must_stop(const struct toucher *toucher)
{
	return toucher->touch->is_endless &&
	       atomic_load_explicit(&toucher->child->shared->must_stop, memory_order_relaxed);
}

/* Goes through the thread's part of the order once; false when told to stop on the way. */
static bool touch_part(struct toucher *toucher)
{
	for (uint64_t i = 0; i < toucher->count; i++) {
		touch_page(toucher, toucher->child->shared->order[toucher->start + i]);
		if (toucher->touches == 1)
			(void)atomic_fetch_add(&toucher->child->shared->begun_threads, 1);
		if (must_stop(toucher)) {
			/* Tells how long the touch before was ago. */
			touch_page(toucher, toucher->child->shared->order[toucher->start]);
			return false;
		}
		if (toucher->touch->pace_us > 0)
			pause_us(toucher->touch->pace_us);
	}
	return true;
}

static void *touch_all(void *argument)
{
	struct toucher *toucher = argument;

	pin(toucher->touch->cpu);
	(void)pthread_barrier_wait(toucher->barrier);
	toucher->begin_ns = clock_ns();
	toucher->end_ns = toucher->begin_ns;
	while (touch_part(toucher) && toucher->touch->is_endless)
		;
	return NULL;
}

/* Samples of the threads are moved together, in the threads' order. */
static uint64_t collect(const struct child *child, struct toucher *toucher, uint32_t threads,
	struct client_answer *answer)
{
	uint64_t begin_ns = UINT64_MAX;
	uint64_t end_ns = 0;

	for (uint32_t i = 0; i < threads; i++) {
		const uint64_t count = toucher[i].samples;

		memmove(child->shared->latency_ns + answer->samples,
			child->shared->latency_ns + toucher[i].sample, count * sizeof(uint32_t));
		memmove(child->shared->begin_us + answer->samples,
			child->shared->begin_us + toucher[i].sample, count * sizeof(uint32_t));
		answer->samples += count;
		answer->touches += toucher[i].touches;
		answer->bad_pages += toucher[i].bad_pages;
		begin_ns = MIN(begin_ns, toucher[i].begin_ns);
		end_ns = MAX(end_ns, toucher[i].end_ns);
	}
	return end_ns - begin_ns;
}

/* Endless touches share the whole room for samples; the others need one for each place. */
static void deal(const struct child *child, const struct touch *touch, pthread_barrier_t *barrier,
	struct toucher *ret_touchers)
{
	const uint64_t room = touch->is_endless ? CLIENT_SAMPLES_MAX : touch->count;

	for (uint32_t i = 0; i < touch->threads; i++)
		ret_touchers[i] = (struct toucher){
			.child = child,
			.touch = touch,
			.barrier = barrier,
			.start = touch->count * i / touch->threads,
			.count = touch->count * (i + 1) / touch->threads -
				 touch->count * i / touch->threads,
			.sample = room * i / touch->threads,
			.capacity = room * (i + 1) / touch->threads - room * i / touch->threads,
		};
}

static int run_touchers(
	const struct child *child, const struct touch *touch, struct client_answer *answer)
{
	struct toucher toucher[CLIENT_THREADS_MAX];
	pthread_t thread[CLIENT_THREADS_MAX];
	pthread_attr_t attributes;
	pthread_barrier_t barrier;
	uint64_t cpu_ns;

	(void)pthread_barrier_init(&barrier, NULL, touch->threads);
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, 64 * KIB);
	deal(child, touch, &barrier, toucher);
	cpu_ns = process_cpu_ns();
	for (uint32_t i = 0; i < touch->threads; i++) {
		const int error = pthread_create(&thread[i], &attributes, touch_all, &toucher[i]);

		/* Those that wait at the barrier could not be let go. */
		ASSERT(error == 0);
	}
	for (uint32_t i = 0; i < touch->threads; i++)
		(void)pthread_join(thread[i], NULL);
	answer->cpu_ns = process_cpu_ns() - cpu_ns;
	answer->elapsed_ns = collect(child, toucher, touch->threads, answer);
	(void)pthread_attr_destroy(&attributes);
	(void)pthread_barrier_destroy(&barrier);
	return 0;
}

static int dirty_all(const struct child *child)
{
	const uint64_t stride = MAX(child->config->fill_stride, 1u);

	for (uint64_t page = 0; page < child->config->pages; page += stride) {
		volatile uint64_t *word = child->memory + page * CONTENT_WORDS;

		/* A zero page stays one. */
		if (content_page_is_zero(child->config, page))
			word[0] = 0;
		else
			(void)__atomic_fetch_add(&word[0], 1, __ATOMIC_RELAXED);
	}
	return 0;
}

static int refill(const struct child *child)
{
	const int advice = child->config->is_anonymous ? MADV_DONTNEED : MADV_REMOVE;

	if (madvise(child->memory, child->config->pages * PAGE_BYTES, advice) < 0)
		return -errno;
	fill(child);
	return 0;
}

static int count_resident(const struct child *child, uint64_t *ret_pages)
{
	unsigned char is_resident[CHUNK_PAGES];
	uint64_t sum = 0;

	for (uint64_t page = 0; page < child->config->pages; page += CHUNK_PAGES) {
		const uint64_t count = MIN(CHUNK_PAGES, child->config->pages - page);

		if (mincore(child->memory + page * CONTENT_WORDS, count * PAGE_BYTES, is_resident) <
			0)
			return -errno;
		for (uint64_t i = 0; i < count; i++)
			sum += is_resident[i] & 1;
	}
	*ret_pages = sum;
	return 0;
}

static int make_userfaultfd(const struct child *child, const struct client_command *command)
{
	const int flags = O_CLOEXEC | (command->uffd_is_blocking ? 0 : O_NONBLOCK);
	struct uffdio_api api = {.api = UFFD_API, .features = command->uffd_features};
	struct uffdio_register range = {
		.range = {.start = (uintptr_t)child->memory,
			.len = child->config->pages * PAGE_BYTES},
		.mode = command->uffd_mode,
	};
	CLEANUP_FD int fd = (int)errno_of(syscall(SYS_userfaultfd, flags));

	if (fd < 0)
		return fd;
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return -errno;
	if (range.mode != 0 && ioctl(fd, UFFDIO_REGISTER, &range) < 0)
		return -errno;
	return take_fd(&fd);
}

static int run_command(const struct child *child, const struct client_command *command,
	struct client_answer *answer)
{
	switch (command->kind) {
	case CLIENT_TOUCH: return run_touchers(child, &command->touch, answer);
	case CLIENT_DIRTY: return dirty_all(child);
	case CLIENT_REFILL: return refill(child);
	case CLIENT_RESIDENT: return count_resident(child, &answer->resident_pages);
	case CLIENT_ADVISE:
		return errno_of(
			madvise(child->memory, child->config->pages * PAGE_BYTES, command->advice));
	case CLIENT_USERFAULTFD: return make_userfaultfd(child, command);
	}
	UNREACHABLE();
}

void child_run(struct child *child)
{
	struct client_command command;

	while (recv(child->socket, &command, sizeof(command), 0) == sizeof(command)) {
		struct client_answer answer = {0};

		answer.result = run_command(child, &command, &answer);
		if (send(child->socket, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			return;
	}
}
