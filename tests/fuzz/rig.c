/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <dirent.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/manager_priv.h"
#include "ctl/server.h"
#include "fake_worker.h"
#include "fuzz.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

#define STORE_BYTES (16 * MIB)
#define FDS_MAX	    8u
/* Choices beyond the outcomes. */
#define CHOICE_PROCESS_EXITS 7u
/* Turns that bring every session to its end, and detaches that empty the manager, at most. */
#define TURNS_MAX    64u
#define DETACHES_MAX (4u * VMS_MAX)

static struct config config = {
	.shard_count = 1,
	.is_debug = true,
	.store = {.kind = SWAPFILE_UNNAMED, .path = ".", .limit_bytes = STORE_BYTES},
};
static struct manager *manager;
static int client = -1;
static int given = -1;	     /* what the client hands over, any number of times */
static uint32_t descriptors; /* before the client came */

static void start(void)
{
	static char path[64];
	const struct engine_config engine_config = {.shard_count = 1, .store = config.store};
	struct engine *engine;
	sigset_t signals;
	int rc;

	(void)snprintf(path, sizeof(path), "./%d.sock", (int)getpid());
	config.socket_path = path;
	/* The order of an object's members, and with it the coverage, is the same in each run. */
	json_object_seed(1);
	log_set_level(LOG_LEVEL_ERROR);
	rc = engine_start(&engine_config, &engine);
	ASSERT(rc == 0);
	fake_worker_warm(engine);
	given = eventfd(0, EFD_CLOEXEC);
	ASSERT(given >= 0);
	rc = manager_open(&config, engine, NULL, &manager);
	ASSERT(rc == 0);
	/* The manager keeps them for itself; here they are to end the fuzzer. */
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

static bool has_work(void)
{
	struct pollfd server = {.fd = server_fd(manager->server), .events = POLLIN};

	return poll(&server, 1, 0) == 1;
}

/* Each line that the daemon sends is one JSON object of the protocol. */
static void check_line(const char *line, size_t size)
{
	json_t *root = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);

	ASSERT(json_is_object(root));
	ASSERT(json_object_get(root, "jsonrpc") != NULL);
	json_decref(root);
}

static void hear(void)
{
	static char heard[8 * MIB];
	static size_t used;
	const char *end;
	size_t done = 0;
	ssize_t size;

	while ((size = recv(client, heard + used, sizeof(heard) - used, MSG_DONTWAIT)) > 0)
		used += (size_t)size;
	while ((end = memchr(heard + done, '\n', used - done)) != NULL) {
		check_line(heard + done, (size_t)(end - heard) - done);
		done = (size_t)(end - heard) + 1;
	}
	/* What the daemon gave up in the middle of a line has no end. */
	used = size == 0 || (size < 0 && errno != EAGAIN) ? 0 : used - done;
	memmove(heard, heard + done, used);
}

static void turn(void)
{
	for (uint32_t i = 0; i < TURNS_MAX && has_work(); i++)
		server_step(manager->server);
	manager_expire_waiters(manager);
	hear();
}

void rig_begin(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int rc;

	if (!manager)
		start();
	descriptors = fuzz_count_descriptors();
	strcpy(address.sun_path, config.socket_path);
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rc = connect(client, (const struct sockaddr *)&address, sizeof(address));
	ASSERT(rc == 0);
	turn();
}

static ssize_t send_some(const uint8_t *bytes, size_t size, uint32_t fd_count)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(FDS_MAX * sizeof(int))] = {0};
	struct iovec io = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
	struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
	struct cmsghdr *header;

	ASSERT(fd_count <= FDS_MAX);
	if (fd_count > 0) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		for (uint32_t i = 0; i < fd_count; i++)
			memcpy(CMSG_DATA(header) + i * sizeof(int), &given, sizeof(int));
	}
	return sendmsg(client, &message, MSG_NOSIGNAL);
}

void rig_say(const uint8_t *bytes, size_t size, uint32_t fd_count)
{
	while (size > 0) {
		ssize_t sent = send_some(bytes, size, fd_count);

		if (sent < 0 && errno != EAGAIN)
			return; /* the daemon gave the client up */
		if (sent > 0) {
			bytes += sent;
			size -= (size_t)sent;
			fd_count = 0;
		}
		turn();
	}
}

void rig_work(uint8_t choice)
{
	struct record *record = manager->record_count > 0 ? manager->record[0] : NULL;
	struct job *job;

	if (choice == CHOICE_PROCESS_EXITS) {
		if (record && record->process_count > 0)
			manager_process_exited(manager, record->process[0].pidfd);
	} else {
		job = fake_worker_run((enum outcome)(choice % OUTCOME_COUNT));
		if (job)
			manager_take_result(manager, job);
	}
	turn();
}

static void detach_all(void)
{
	struct job *job;

	for (uint32_t i = 0; manager->record_count > 0; i++) {
		ASSERT(i < DETACHES_MAX);
		while ((job = fake_worker_run(OUTCOME_DONE)) != NULL)
			manager_take_result(manager, job);
		for (uint32_t k = 0; k < manager->record_count; k++)
			(void)manager_detach(manager, manager->record[k], "end");
	}
	ASSERT(fake_worker_run(OUTCOME_DONE) == NULL);
}

void rig_end(void)
{
	detach_all();
	ASSERT(manager->waiters.count == 0);
	turn();
	close_fd(take_fd(&client));
	for (uint32_t i = 0; i < TURNS_MAX && has_work(); i++)
		server_step(manager->server);
	ASSERT(!has_work());
	while (manager->job_count > 0)
		job_free(manager->job[--manager->job_count]);
	manager->last_job_id = 0;
	manager->is_ending = false;
	manager->has_ended = false;
	ASSERT(engine_store_used_bytes(manager->engine) == 0);
	ASSERT(fuzz_count_descriptors() == descriptors);
}
