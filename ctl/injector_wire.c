/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/injector_wire.h"

#include <poll.h>
#include <stdalign.h>
#include <string.h>
#include <sys/socket.h>

#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define CONTROL_BYTES CMSG_SPACE(SHARDS_MAX * sizeof(int))

static int gone(int error)
{
	return error == -ECONNRESET ? -EPIPE : error;
}

int injector_send(int socket, const struct injector_message *message)
{
	alignas(struct cmsghdr) char control[CONTROL_BYTES] = {0};
	const size_t fds_bytes = message->fd_count * sizeof(int);
	struct iovec vector = {.iov_base = message->bytes, .iov_len = message->size_bytes};
	struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
	ssize_t sent;

	ASSERT(message->fd_count <= SHARDS_MAX);
	ASSERT(message->size_bytes > 0);
	if (message->fd_count > 0) {
		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(fds_bytes);
		struct cmsghdr *rights = CMSG_FIRSTHDR(&header);

		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(fds_bytes);
		memcpy(CMSG_DATA(rights), message->fds, fds_bytes);
	}
	/* @control sendmsg */
	sent = errno_of(sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL));
	return sent < 0 ? gone((int)sent) : 0;
}

static int await_readable(int socket, uint64_t timeout_ms)
{
	const uint64_t end_ns = clock_ns() + timeout_ms * NS_PER_MS;
	struct pollfd entry = {.fd = socket, .events = POLLIN};

	for (;;) {
		const uint64_t now_ns = clock_ns();
		const int left_ms = now_ns < end_ns ? (int)((end_ns - now_ns) / NS_PER_MS) + 1 : 0;
		const int ready = poll(&entry, 1, left_ms); /* @control poll */

		if (ready > 0)
			return 0;
		if (ready < 0 && errno != EINTR)
			return -errno;
		if (left_ms == 0)
			return -ETIMEDOUT;
	}
}

/* Descriptors that came: the room is as large as anything that is ever sent. */
static void take_rights(struct msghdr *header, struct injector_message *message)
{
	const struct cmsghdr *rights = CMSG_FIRSTHDR(header);
	size_t fds_bytes;

	message->fd_count = 0;
	if (!rights || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS)
		return;
	fds_bytes = rights->cmsg_len - CMSG_LEN(0);
	message->fd_count = (uint32_t)(fds_bytes / sizeof(int));
	memcpy(message->fds, CMSG_DATA(rights), fds_bytes);
}

int injector_receive(int socket, struct injector_message *message, uint64_t timeout_ms)
{
	alignas(struct cmsghdr) char control[CONTROL_BYTES];
	struct iovec vector = {.iov_base = message->bytes, .iov_len = message->size_bytes};
	struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
	ssize_t got;
	int error = await_readable(socket, timeout_ms);

	ASSERT(message->fd_count <= SHARDS_MAX);
	if (error)
		return error;
	if (message->fd_count > 0) {
		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(message->fd_count * sizeof(int));
	}
	/* @control recvmsg */
	got = errno_of(recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
	if (got <= 0)
		return got == 0 ? -EPIPE : gone((int)got);
	ASSERT((size_t)got == message->size_bytes);
	take_rights(&header, message);
	return 0;
}
