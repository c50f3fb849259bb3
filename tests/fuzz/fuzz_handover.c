/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker sends its supervisor, and the names that come back from systemd's store. The input
 * is a run of records: byte 0 says what it is and how many descriptors go along, then
 *
 *   a message as the worker builds them     kind, name, entry, first, total: a byte each
 *   any bytes as a message                  a length, the bytes
 *   a name of systemd's                     a length, the text
 *   a pause in which the worker reads its answers
 *
 * requests.c, handover.c and store.c are real; fdstore.c is included whole, for what it takes comes
 * by environment and number. Every descriptor is closed at the end, or it is lost.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "ctl/supervisor/fdstore.c" /* NOLINT(bugprone-suspicious-include) */
#include "ctl/supervisor/supervisor_priv.h"
#include "fuzz.h"
#include "queue/base/assert.h"

#define FDS_MAX	  4u
#define TAKEN_MAX 64u

enum record {
	RECORD_MESSAGE,
	RECORD_BYTES,
	RECORD_FDNAME,
	RECORD_READ,
	RECORD_COUNT,
};

struct input {
	const uint8_t *data;
	size_t size;
};

static struct supervisor supervisor;
static int worker = -1;
static int given = -1; /* what goes along, any number of times */
static struct taken taken[TAKEN_MAX];
static uint32_t taken_count;

/* supervisor.c: there is no process to start or to kill here. */
void supervisor_worker_is_ready(struct supervisor *ready)
{
	ASSERT(ready == &supervisor);
	ready->worker.is_ready = true;
}

void supervisor_kill_worker(struct supervisor *killing)
{
	ASSERT(killing->candidate >= 0);
	close_fd(take_fd(&killing->candidate));
}

static uint8_t next(struct input *input)
{
	if (input->size == 0)
		return 0;
	input->size--;
	return *input->data++;
}

static size_t take(struct input *input, const uint8_t **ret_bytes)
{
	const size_t wanted = next(input);
	const size_t size = MIN(wanted, input->size);

	*ret_bytes = input->data;
	input->data += size;
	input->size -= size;
	return size;
}

static void send_bytes(const void *bytes, size_t size, uint32_t fd_count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = {0};
	struct iovec io = {(void *)(uintptr_t)bytes, size};
	struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};

	ASSERT(fd_count <= FDS_MAX);
	if (fd_count > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		for (uint32_t i = 0; i < fd_count; i++)
			memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &given, sizeof(int));
	}
	(void)sendmsg(worker, &message, MSG_NOSIGNAL);
}

static void say(struct input *input, uint32_t fd_count)
{
	struct handover_message message = {.magic = HANDOVER_MAGIC, .kind = next(input)};

	(void)snprintf(message.name, sizeof(message.name), "vm-%u", next(input) % 8u);
	message.entry = next(input);
	message.first = next(input);
	message.total = next(input);
	send_bytes(&message, sizeof(message), fd_count);
}

/* An answer holds as many descriptors as it says, and no more. */
static void hear(void)
{
	struct handover_message message;
	int fds[HANDOVER_FDS_MAX];
	uint32_t count;

	while (handover_receive(worker, &message, fds, &count) == 0) {
		ASSERT(message.kind == HANDOVER_ANSWER);
		ASSERT(count == 0 || message.first + count <= message.total);
		for (uint32_t i = 0; i < count; i++)
			close_fd(fds[i]);
	}
}

/* What can be read is what would be written for it. */
static void check_name(const struct taken *name)
{
	struct store_entry entry = {.total = name->total};
	struct taken same = {.fd = -1};
	char text[FDNAME_BYTES];

	memcpy(entry.name, name->name, sizeof(entry.name));
	encode(&entry, name->place, text);
	ASSERT(decode(text, &same));
	ASSERT(strcmp(same.name, name->name) == 0);
	ASSERT(same.place == name->place && same.total == name->total);
}

static void take_name(struct input *input)
{
	const uint8_t *bytes;
	const size_t size = take(input, &bytes);
	char *text = strndup((const char *)bytes, size);
	struct taken *name = &taken[taken_count];

	ASSERT(text != NULL);
	*name = (struct taken){.fd = -1};
	if (!decode(text, name))
		name->total = 0;
	else
		check_name(name);
	free(text);
	if (taken_count + 1 == TAKEN_MAX)
		return;
	name->fd = fcntl(given, F_DUPFD_CLOEXEC, 3);
	ASSERT(name->fd >= 0);
	taken_count++;
}

static void play(struct input *input)
{
	const uint8_t head = next(input);
	const uint32_t fd_count = head / RECORD_COUNT % (FDS_MAX + 1);
	const uint8_t *bytes;

	switch ((enum record)(head % RECORD_COUNT)) {
	case RECORD_MESSAGE: say(input, fd_count); break;
	case RECORD_BYTES: {
		const size_t size = take(input, &bytes);

		send_bytes(bytes, size, fd_count);
		break;
	}
	case RECORD_FDNAME: take_name(input); break;
	case RECORD_READ:
	case RECORD_COUNT: hear(); break;
	}
	if (supervisor.worker.socket >= 0)
		supervisor_serve(&supervisor);
}

static void begin(void)
{
	int pair[2];
	const int rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);

	ASSERT(rc == 0);
	memset(&supervisor, 0, offsetof(struct supervisor, store));
	supervisor.store.entry_count = 0;
	supervisor.store.fd_count = 0;
	supervisor.candidate = -1;
	supervisor.previous = -1;
	supervisor.worker.socket = pair[0];
	worker = pair[1];
	taken_count = 0;
}

static void end(void)
{
	struct store *store = &supervisor.store;

	hear();
	close_fd(take_fd(&worker));
	if (supervisor.worker.socket >= 0)
		close_fd(supervisor.worker.socket);
	store_drop_incomplete(store);
	move(store, taken, taken_count);
	for (uint32_t i = 0; i < store_count(store); i++)
		ASSERT(store->entries[i].count == store->entries[i].total);
	while (store->entry_count > 0)
		store_remove(store, &store->entries[store->entry_count - 1]);
	ASSERT(store->fd_count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint32_t descriptors;

	if (given < 0) {
		given = eventfd(0, EFD_CLOEXEC);
		ASSERT(given >= 0);
		log_set_level(LOG_LEVEL_ERROR);
	}
	descriptors = fuzz_count_descriptors();
	begin();
	while (input.size > 0)
		play(&input);
	end();
	ASSERT(fuzz_count_descriptors() == descriptors);
	return 0;
}
