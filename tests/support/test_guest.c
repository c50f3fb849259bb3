/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/uffd.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"

#define MADV_DONTNEED_LOCKED_ 24
#define ANSWER_TIMEOUT_MS     60000
#define THREADS_MAX	      16
#define PAGE_WORDS	      (PAGE_BYTES / sizeof(uint64_t))

enum request_kind { REQUEST_ZAP, REQUEST_ASK, REQUEST_STOP, REQUEST_ACT };

struct request {
	uint32_t kind;
	uint32_t act;
	uint64_t address, size_bytes;
};

struct answer {
	int64_t result;
	struct test_guest_report report;
};

/* The child's world. */
static struct {
	struct test_guest_config config;
	uint64_t *memory;
	uint64_t *generation; /* what each page must hold; one writer a page */
	/* pages [moved_page, +moved_count) lie at @moved; pages from @unmapped_page on are gone */
	uint64_t *moved;
	uint64_t moved_page, moved_count;
	uint64_t unmapped_page;
	int memfd;
	atomic_bool is_stopping;
	_Atomic uint64_t visits, bad, longest_ns;
	pthread_t thread[THREADS_MAX];
} world;

_Noreturn static void give_up(const char *what)
{
	(void)fprintf(stderr, "test_guest: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t word_of(uint64_t page, uint64_t generation, uint64_t index)
{
	return (page * 0x9e3779b97f4a7c15u) ^ (generation * 0xbf58476d1ce4e5b9u) ^ (index + 1);
}

static bool starts_zero(uint64_t page)
{
	return page % 100 < world.config.zero_percent;
}

static uint64_t *words_of(uint64_t page)
{
	if (page - world.moved_page < world.moved_count)
		return world.moved + (page - world.moved_page) * PAGE_WORDS;
	return world.memory + page * PAGE_WORDS;
}

static void write_page(uint64_t page, uint64_t generation)
{
	uint64_t *words = words_of(page);

	for (uint64_t i = 0; i < PAGE_WORDS; i++)
		words[i] = word_of(page, generation, i);
	world.generation[page] = generation;
}

static void verify_page(uint64_t page)
{
	const uint64_t *words = words_of(page);
	const uint64_t generation = world.generation[page];
	uint64_t wrong = 0;
	uint64_t first = 0;

	for (uint64_t i = 0; i < PAGE_WORDS; i++) {
		const uint64_t must = generation == 0 ? 0 : word_of(page, generation, i);

		if (words[i] != must && wrong++ == 0)
			first = i;
	}
	if (wrong == 0)
		return;
	(void)fprintf(stderr, "BAD page %lu generation %lu: %lu words wrong, word %lu is %lx\n",
		page, generation, wrong, first, words[first]);
	atomic_fetch_add(&world.bad, 1);
}

static void visit(uint64_t page, bool is_write)
{
	const uint64_t from = clock_ns();
	uint64_t ns;

	verify_page(page);
	if (is_write)
		write_page(page, world.generation[page] + 1);
	ns = clock_ns() - from;
	if (ns > atomic_load(&world.longest_ns))
		atomic_store(&world.longest_ns, ns);
	atomic_fetch_add_explicit(&world.visits, 1, memory_order_relaxed);
}

/* Each thread owns the pages of its residue, so nobody verifies what another one writes. */
static void *visit_for_ever(void *argument)
{
	const uint64_t id = (uint64_t)(uintptr_t)argument;
	const uint64_t own = world.config.pages / world.config.threads;
	const uint64_t working = MAX(own * world.config.working_percent / 100, 1);
	uint64_t random = id * 77 + 12345;
	uint64_t cursor = 0;

	while (!atomic_load_explicit(&world.is_stopping, memory_order_relaxed)) {
		const uint64_t pick =
			world.config.is_sequential ? cursor++ : next_random(&random) >> 11;
		const bool is_write = next_random(&random) % 100 < world.config.write_percent;

		visit(pick % working * world.config.threads + id, is_write);
	}
	return NULL;
}

static void verify_all(void)
{
	for (uint64_t page = 0; page < world.unmapped_page; page++)
		verify_page(page);
	atomic_fetch_add(&world.visits, world.unmapped_page);
}

static void stop_threads(void)
{
	atomic_store(&world.is_stopping, true);
	for (uint32_t i = 0; i < world.config.threads; i++)
		(void)pthread_join(world.thread[i], NULL);
	verify_all();
}

static int64_t fork_and_verify(void)
{
	int status = 0;
	const pid_t child = fork();

	if (child == 0) {
		atomic_store(&world.bad, 0);
		verify_all();
		_exit(atomic_load(&world.bad) != 0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -errno;
	return status == 0 ? 0 : -EBADMSG;
}

static void forget_content(uint64_t page, uint64_t count)
{
	for (uint64_t i = page; i < page + count; i++)
		world.generation[i] = 0;
}

/* Pages that were out when they were punched may read as before or as zeros; either is taken as it
 * is. */
static void accept_either(uint64_t page, uint64_t count)
{
	for (uint64_t i = page; i < page + count; i++)
		if (words_of(i)[0] == 0)
			world.generation[i] = 0;
}

static int64_t move_pages(uint64_t page, uint64_t count)
{
	const size_t size = count * PAGE_BYTES;
	/* A place that nothing else has, and that a sanitizer knows. */
	void *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *moved;

	if (place == MAP_FAILED)
		return -errno;
	moved = mremap(words_of(page), size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	if (moved == MAP_FAILED)
		return -errno;
	world.moved = moved;
	world.moved_page = page;
	world.moved_count = count;
	return 0;
}

static int64_t act(const struct request *request)
{
	const uint64_t page = request->address;
	const uint64_t count = request->size_bytes;
	const off_t offset = (off_t)(page * PAGE_BYTES);
	const off_t size = (off_t)(count * PAGE_BYTES);

	switch ((enum test_guest_act)request->act) {
	case TEST_GUEST_VERIFY: verify_all(); return 0;
	case TEST_GUEST_REWRITE:
		for (uint64_t i = page; i < page + count; i++)
			write_page(i, world.generation[i] + 1);
		return 0;
	case TEST_GUEST_FORK: return fork_and_verify();
	case TEST_GUEST_REMOVE:
		forget_content(page, count);
		return madvise(words_of(page), (size_t)size, MADV_REMOVE) ? -errno : 0;
	case TEST_GUEST_PUNCH:
		forget_content(page, count);
		return fallocate(world.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
			       size)
			       ? -errno
			       : 0;
	case TEST_GUEST_FORGET: accept_either(page, count); return 0;
	case TEST_GUEST_MOVE: return move_pages(page, count);
	case TEST_GUEST_UNMAP:
		world.unmapped_page = page;
		return munmap(words_of(page), (size_t)size) ? -errno : 0;
	}
	return -EINVAL;
}

static void serve_requests(int socket)
{
	struct request request;

	while (read(socket, &request, sizeof(request)) == sizeof(request)) {
		struct answer answer = {0};

		if (request.kind == REQUEST_ZAP &&
			madvise((void *)request.address, request.size_bytes, MADV_DONTNEED_LOCKED_))
			answer.result = -errno;
		if (request.kind == REQUEST_ACT)
			answer.result = act(&request);
		if (request.kind == REQUEST_STOP)
			stop_threads();
		answer.report = (struct test_guest_report){
			.visits = atomic_load(&world.visits),
			.bad = atomic_load(&world.bad),
			.longest_ns = atomic_load(&world.longest_ns),
		};
		if (write(socket, &answer, sizeof(answer)) != sizeof(answer))
			break;
		if (request.kind == REQUEST_STOP)
			break;
	}
	_exit(0);
}

static void send_fds(int socket, const int *fds, uint32_t count)
{
	char byte = 0;
	char control[CMSG_SPACE(SHARDS_MAX * sizeof(int))] = {0};
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(header), fds, count * sizeof(int));
	if (sendmsg(socket, &message, 0) != 1)
		give_up("sendmsg");
}

static void receive_fds(int socket, int *fds, uint32_t count)
{
	char byte;
	char control[CMSG_SPACE(SHARDS_MAX * sizeof(int))];
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1)
		give_up("the guest ended early");
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), count * sizeof(int));
}

_Noreturn static void live(int socket)
{
	int uffds[SHARDS_MAX];

	for (uint32_t i = 0; i < world.config.descriptors; i++) {
		uffds[i] = uffd_open();
		if (uffds[i] < 0)
			_exit(77);
	}
	world.generation = calloc(world.config.pages, sizeof(*world.generation));
	if (!world.generation)
		give_up("calloc");
	for (uint64_t page = 0; page < world.config.pages; page++)
		if (!starts_zero(page))
			write_page(page, 1);
		else
			((volatile uint64_t *)world.memory)[page * PAGE_WORDS] = 0;
	send_fds(socket, uffds, world.config.descriptors);
	for (uint32_t i = 0; i < world.config.threads; i++)
		if (pthread_create(&world.thread[i], NULL, visit_for_ever, (void *)(uintptr_t)i))
			give_up("pthread_create");
	serve_requests(socket);
	_exit(0);
}

void test_guest_start(const struct test_guest_config *config, struct test_guest *ret_guest)
{
	const size_t size = config->pages * PAGE_BYTES;
	struct test_guest guest = {.pages = config->pages};
	int sockets[2];
	void *memory;

	guest.memfd = memfd_create("test-guest", MFD_CLOEXEC);
	if (guest.memfd < 0 || ftruncate(guest.memfd, (off_t)size))
		give_up("memfd");
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, guest.memfd, 0);
	if (memory == MAP_FAILED || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		give_up("mmap");
	guest.address = (uintptr_t)memory;
	guest.pid = fork();
	if (guest.pid < 0)
		give_up("fork");
	if (guest.pid == 0) {
		(void)close(sockets[0]);
		world.config = *config;
		world.memory = memory;
		world.memfd = guest.memfd;
		world.unmapped_page = config->pages;
		live(sockets[1]);
	}
	(void)close(sockets[1]);
	(void)munmap(memory, size);
	guest.socket = sockets[0];
	guest.pidfd = (int)syscall(SYS_pidfd_open, guest.pid, 0);
	receive_fds(guest.socket, guest.uffds, config->descriptors);
	*ret_guest = guest;
}

/* False when it is dead. Silence is a failure. */
static bool try_ask(
	const struct test_guest *guest, const struct request *request, struct answer *answer)
{
	struct pollfd ready = {.fd = guest->socket, .events = POLLIN};

	if (send(guest->socket, request, sizeof(*request), MSG_NOSIGNAL) != sizeof(*request))
		return false;
	if (poll(&ready, 1, ANSWER_TIMEOUT_MS) != 1)
		give_up("the guest is silent");
	return read(guest->socket, answer, sizeof(*answer)) == sizeof(*answer);
}

static void ask(
	const struct test_guest *guest, const struct request *request, struct answer *answer)
{
	if (!try_ask(guest, request, answer))
		give_up("the guest died");
}

void test_guest_zap(const struct test_guest *guest, uint64_t address, uint64_t size_bytes)
{
	const struct request request = {
		.kind = REQUEST_ZAP,
		.address = address,
		.size_bytes = size_bytes,
	};
	struct answer answer;

	ask(guest, &request, &answer);
	if (answer.result) {
		errno = (int)-answer.result;
		give_up("zap");
	}
}

bool test_guest_try_ask(const struct test_guest *guest, struct test_guest_report *ret_report)
{
	struct answer answer;

	if (!try_ask(guest, &(struct request){.kind = REQUEST_ASK}, &answer))
		return false;
	*ret_report = answer.report;
	return true;
}

void test_guest_do(
	const struct test_guest *guest, enum test_guest_act act, uint64_t page, uint64_t count)
{
	const struct request request = {
		.kind = REQUEST_ACT,
		.act = act,
		.address = page,
		.size_bytes = count,
	};
	struct answer answer;

	ask(guest, &request, &answer);
	if (answer.result) {
		errno = (int)-answer.result;
		give_up("act");
	}
}

void test_guest_ask(const struct test_guest *guest, struct test_guest_report *ret_report)
{
	struct answer answer;

	ask(guest, &(struct request){.kind = REQUEST_ASK}, &answer);
	*ret_report = answer.report;
}

static void end(struct test_guest *guest)
{
	(void)waitpid(guest->pid, NULL, 0);
	(void)close(guest->socket);
	(void)close(guest->pidfd);
	(void)close(guest->memfd);
}

void test_guest_stop(struct test_guest *guest, struct test_guest_report *ret_report)
{
	struct answer answer;

	ask(guest, &(struct request){.kind = REQUEST_STOP}, &answer);
	*ret_report = answer.report;
	end(guest);
}

void test_guest_kill(struct test_guest *guest)
{
	(void)kill(guest->pid, SIGKILL);
	end(guest);
}
