/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU-postcopy-style: where the client runs. The fault thread polls, reads one message and
 * requests one page; the listen thread receives a page into memory of its own and places it from
 * there. One mutex covers what was requested and what has arrived.
 */
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "perf/contestant/qemu.h"
#include "perf/contestant/resolve.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define BUFFER_BYTES (32 * KIB)

struct destination {
	/* Constant after start. */
	const struct contestant *self;
	int uffd;
	int channel;
	uint64_t address; /* of the client's memory */
	uint64_t bitmap_bytes;
	/* Under the lock: a bit a page. */
	pthread_mutex_t lock;
	uint64_t *requested;
	uint64_t *received;
	/* The listen thread's. */
	uint8_t temporary_page[PAGE_BYTES];
	uint8_t buffer[BUFFER_BYTES];
	size_t begin; /* what is in the buffer */
	size_t end;
};

/* Whether the page is to be requested: its arrival wakes all who wait for it. */
static bool note_request(struct destination *destination, uint64_t page)
{
	bool is_new;

	(void)pthread_mutex_lock(&destination->lock);
	is_new = !bit_get(destination->received, page) && !bit_get(destination->requested, page);
	if (is_new)
		bit_set(destination->requested, page);
	(void)pthread_mutex_unlock(&destination->lock);
	return is_new;
}

/*
 * Noted before it is placed: who is woken by it may have it staged again at once. A fault between
 * the two is not requested, and woken by the placing.
 */
static void note_arrival(struct destination *destination, uint64_t page)
{
	(void)pthread_mutex_lock(&destination->lock);
	bit_set(destination->received, page);
	bit_clear(destination->requested, page);
	(void)pthread_mutex_unlock(&destination->lock);
}

static void forget_all(struct destination *destination)
{
	(void)pthread_mutex_lock(&destination->lock);
	memset(destination->requested, 0, destination->bitmap_bytes);
	memset(destination->received, 0, destination->bitmap_bytes);
	(void)pthread_mutex_unlock(&destination->lock);
}

static int request_page(struct destination *destination)
{
	struct qemu_request request = {.size_bytes = PAGE_BYTES};
	struct uffd_msg fault;

	/* Who waited may have been woken since poll. */
	if (read(destination->uffd, &fault, sizeof(fault)) != sizeof(fault))
		return errno == EAGAIN ? 0 : -errno;
	request.offset = resolve_address(&fault) - destination->address;
	if (!note_request(destination, request.offset / PAGE_BYTES))
		return 0;
	if (send(destination->channel, &request, sizeof(request), MSG_NOSIGNAL) != sizeof(request))
		return -EPIPE;
	return 0;
}

static void serve_faults(struct destination *destination, int socket)
{
	struct pollfd poller[] = {
		{.fd = destination->uffd, .events = POLLIN},
		{.fd = socket, .events = POLLIN},
	};
	uint32_t command;

	while (poll(poller, ARRAY_SIZE(poller), -1) > 0) {
		const int error = poller[0].revents ? request_page(destination) : 0;

		if (error < 0)
			handler_give_up(destination->self, "requesting a page", error);
		if (!poller[1].revents)
			continue;
		if (handler_next(socket, &command) < 0)
			return;
		ASSERT(command == QEMU_FORGET);
		forget_all(destination);
		handler_answer(socket, &(struct handler_answer){0});
	}
}

/* The next @size bytes of the stream, valid until the next call; NULL: it has ended. */
static const uint8_t *receive(struct destination *destination, size_t size)
{
	const uint8_t *bytes;

	ASSERT(size <= BUFFER_BYTES);
	if (BUFFER_BYTES - destination->begin < size) {
		destination->end -= destination->begin;
		memmove(destination->buffer, destination->buffer + destination->begin,
			destination->end);
		destination->begin = 0;
	}
	while (destination->end - destination->begin < size) {
		const ssize_t got = recv(destination->channel,
			destination->buffer + destination->end, BUFFER_BYTES - destination->end, 0);

		if (got <= 0)
			return NULL;
		destination->end += (size_t)got;
	}
	bytes = destination->buffer + destination->begin;
	destination->begin += size;
	return bytes;
}

static int place_zero(struct destination *destination, uint64_t offset)
{
	note_arrival(destination, offset / PAGE_BYTES);
	return resolve_zero(destination->uffd, destination->address + offset, PAGE_BYTES);
}

static int place_page(struct destination *destination, uint64_t offset)
{
	const uint8_t *bytes = receive(destination, PAGE_BYTES);

	if (!bytes)
		return -EPIPE;
	memcpy(destination->temporary_page, bytes, PAGE_BYTES);
	note_arrival(destination, offset / PAGE_BYTES);
	return resolve_copy(destination->uffd, destination->address + offset,
		destination->temporary_page, PAGE_BYTES, 0);
}

static void *listen_main(void *argument)
{
	struct destination *destination = argument;
	const uint8_t *bytes = receive(destination, sizeof(uint64_t));

	for (; bytes; bytes = receive(destination, sizeof(uint64_t))) {
		uint64_t header;
		int error;

		memcpy(&header, bytes, sizeof(header));
		error = header & QEMU_PAGE_IS_ZERO
				? place_zero(destination, header & ~QEMU_PAGE_IS_ZERO)
				: place_page(destination, header);
		if (error < 0)
			handler_give_up(destination->self, "placing a page", error);
	}
	handler_give_up(destination->self, "receiving pages", -EPIPE);
	return NULL;
}

static int start(const struct contestant *self, struct destination *destination)
{
	const struct qemu *qemu = self->state;
	pthread_t listener;

	(void)close(qemu->channel[0]);
	destination->self = self;
	destination->uffd = qemu->uffd;
	destination->channel = qemu->channel[1];
	destination->address = client_address(self->client);
	destination->bitmap_bytes = divide_up(client_pages(self->client), 64) * sizeof(uint64_t);
	destination->requested = calloc(1, destination->bitmap_bytes);
	destination->received = calloc(1, destination->bitmap_bytes);
	if (!destination->requested || !destination->received)
		return -ENOMEM;
	return -pthread_create(&listener, NULL, listen_main, destination);
}

/* Nothing is freed: the process ends with this. */
void qemu_destination_main(const struct contestant *self, int socket)
{
	static struct destination destination = {.lock = PTHREAD_MUTEX_INITIALIZER};
	int error;

	contestant_pin_handler(self);
	error = start(self, &destination);
	handler_ready(socket, error);
	if (error == 0)
		serve_faults(&destination, socket);
}
