/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/client/client.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "perf/client/command.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* A first touch may wait for whoever serves the memory. */
#define BEGIN_MS    20000
#define ARRAY_BYTES (CLIENT_SAMPLES_MAX * sizeof(uint32_t))

struct client {
	struct client_config config;
	struct client_shared *shared;
	uint64_t address; /* of the memory in the child */
	pid_t pid;
	int pidfd;
	int socket;
	int memfd;
};

static void *map_shared(uint64_t size_bytes)
{
	void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static int open_shared(struct client *client)
{
	struct client_shared *shared = map_shared(sizeof(*shared));

	if (!shared)
		return -ENOMEM;
	client->shared = shared;
	shared->order = map_shared(ARRAY_BYTES);
	shared->latency_ns = map_shared(ARRAY_BYTES);
	shared->begin_us = map_shared(ARRAY_BYTES);
	return shared->order && shared->latency_ns && shared->begin_us ? 0 : -ENOMEM;
}

static void close_shared(struct client_shared *shared)
{
	if (!shared)
		return;
	if (shared->order)
		(void)munmap(shared->order, ARRAY_BYTES);
	if (shared->latency_ns)
		(void)munmap(shared->latency_ns, ARRAY_BYTES);
	if (shared->begin_us)
		(void)munmap(shared->begin_us, ARRAY_BYTES);
	(void)munmap(shared, sizeof(*shared));
}

static int open_memory(struct client *client)
{
	if (client->config.is_anonymous || client->config.map)
		return 0;
	client->memfd = errno_of(memfd_create("vmswap-bench", MFD_CLOEXEC));
	if (client->memfd < 0)
		return client->memfd;
	return errno_of(ftruncate(client->memfd, (off_t)(client->config.pages * PAGE_BYTES)));
}

/* Never returns. Its first message is the address of the memory. */
_Noreturn static void run_child(const struct client *client, int socket)
{
	struct child child = {
		.config = &client->config,
		.shared = client->shared,
		.socket = socket,
	};
	struct client_answer ready = {0};

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_IGN);
	ready.result = child_map(&child, client->memfd);
	ready.samples = (uintptr_t)child.memory;
	if (send(socket, &ready, sizeof(ready), MSG_NOSIGNAL) == sizeof(ready) && ready.result == 0)
		child_run(&child);
	_exit(0);
}

static int receive(const struct client *client, struct client_answer *ret_answer)
{
	const ssize_t got = recv(client->socket, ret_answer, sizeof(*ret_answer), 0);

	if (got != sizeof(*ret_answer))
		return -EPIPE;
	return ret_answer->result;
}

static int start_child(struct client *client)
{
	int sockets[2];
	struct client_answer ready;
	int result;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	client->socket = sockets[0];
	client->pid = fork();
	if (client->pid == 0) {
		(void)close(sockets[0]);
		run_child(client, sockets[1]);
	}
	result = client->pid < 0 ? -errno : 0;
	(void)close(sockets[1]);
	if (result < 0)
		return result;
	client->pidfd = (int)errno_of(syscall(SYS_pidfd_open, client->pid, 0));
	result = receive(client, &ready);
	client->address = ready.samples;
	return result;
}

int client_start(const struct client_config *config, struct client **ret_client)
{
	struct client *client = calloc(1, sizeof(*client));
	int result;

	ASSERT(config->pages > 0);
	if (!client)
		return -ENOMEM;
	client->config = *config;
	client->memfd = -1;
	client->socket = -1;
	client->pidfd = -1;
	result = open_shared(client);
	if (result == 0)
		result = open_memory(client);
	if (result == 0)
		result = start_child(client);
	if (result < 0) {
		client_stop(client);
		return result;
	}
	*ret_client = client;
	return 0;
}

void client_stop(struct client *client)
{
	if (!client)
		return;
	if (client->pid > 0) {
		(void)kill(client->pid, SIGKILL);
		(void)waitpid(client->pid, NULL, 0);
	}
	close_fd(client->pidfd);
	close_fd(client->socket);
	close_fd(client->memfd);
	close_shared(client->shared);
	free(client);
}

pid_t client_pid(const struct client *client)
{
	return client->pid;
}

int client_memfd(const struct client *client)
{
	return client->memfd;
}

uint64_t client_address(const struct client *client)
{
	return client->address;
}

uint64_t client_pages(const struct client *client)
{
	return client->config.pages;
}

static int send_command(const struct client *client, const struct client_command *command)
{
	if (send(client->socket, command, sizeof(*command), MSG_NOSIGNAL) != sizeof(*command))
		return -EPIPE;
	return 0;
}

static int run_command(const struct client *client, const struct client_command *command)
{
	struct client_answer answer;
	const int result = send_command(client, command);

	return result < 0 ? result : receive(client, &answer);
}

/* What is measured beside endless touches is not to begin before they do. */
static int wait_until_begun(struct client *client, uint32_t threads)
{
	const uint64_t deadline_ns = clock_ns() + BEGIN_MS * NS_PER_MS;
	const struct timespec pause = {.tv_nsec = 100 * (long)NS_PER_US};

	while (atomic_load(&client->shared->begun_threads) < threads) {
		if (clock_ns() > deadline_ns)
			return -ETIMEDOUT;
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

int client_touch_begin(struct client *client, const struct touch *touch)
{
	struct client_command command = {.kind = CLIENT_TOUCH, .touch = *touch};
	int result;

	ASSERT(touch->threads >= 1);
	ASSERT(touch->threads <= CLIENT_THREADS_MAX);
	ASSERT(touch->count >= touch->threads);
	ASSERT(touch->count <= CLIENT_SAMPLES_MAX);
	memcpy(client->shared->order, touch->order, touch->count * sizeof(*touch->order));
	atomic_store(&client->shared->must_stop, false);
	atomic_store(&client->shared->begun_threads, 0);
	result = send_command(client, &command);
	return result == 0 && touch->is_endless ? wait_until_begun(client, touch->threads) : result;
}

int client_touch_end(struct client *client, struct touch_result *ret_result)
{
	struct client_answer answer;
	int result;

	atomic_store(&client->shared->must_stop, true);
	result = receive(client, &answer);
	if (result < 0)
		return result;
	*ret_result = (struct touch_result){
		.elapsed_ns = answer.elapsed_ns,
		.cpu_ns = answer.cpu_ns,
		.touches = answer.touches,
		.bad_pages = answer.bad_pages,
		.latency_ns = client->shared->latency_ns,
		.begin_us = client->shared->begin_us,
		.samples = answer.samples,
	};
	return 0;
}

int client_touch(struct client *client, const struct touch *touch, struct touch_result *ret_result)
{
	const int result = client_touch_begin(client, touch);

	ASSERT(!touch->is_endless);
	return result < 0 ? result : client_touch_end(client, ret_result);
}

int client_dirty(struct client *client)
{
	return run_command(client, &(struct client_command){.kind = CLIENT_DIRTY});
}

int client_refill(struct client *client)
{
	return run_command(client, &(struct client_command){.kind = CLIENT_REFILL});
}

int client_resident(struct client *client, uint64_t *ret_pages)
{
	struct client_answer answer;
	int result = send_command(client, &(struct client_command){.kind = CLIENT_RESIDENT});

	if (result == 0)
		result = receive(client, &answer);
	if (result < 0)
		return result;
	*ret_pages = answer.resident_pages;
	return 0;
}

int client_advise(struct client *client, int advice)
{
	return run_command(
		client, &(struct client_command){.kind = CLIENT_ADVISE, .advice = advice});
}

int client_userfaultfd(
	struct client *client, uint64_t features, uint64_t mode, bool is_blocking, int *ret_fd)
{
	const struct client_command command = {
		.kind = CLIENT_USERFAULTFD,
		.uffd_features = features,
		.uffd_mode = mode,
		.uffd_is_blocking = is_blocking,
	};
	const int remote = run_command(client, &command);
	int fd;

	if (remote < 0)
		return remote;
	fd = (int)errno_of(syscall(SYS_pidfd_getfd, client->pidfd, remote, 0));
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}
