/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/supervisor/handover.h"

#include <string.h>
#include <sys/socket.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Aligned as a cmsghdr has to be. */
union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(HANDOVER_FDS_MAX * sizeof(int))];
};

bool handover_is_below(const char *name, const char *above)
{
	const size_t length = strlen(above);

	return strncmp(name, above, length) == 0 && name[length] == '/';
}

static int send_message(int socket, const struct handover_message *message, const int *fds,
	uint32_t count, int flags)
{
	ASSERT(count <= HANDOVER_FDS_MAX);
	ASSERT(message->magic == HANDOVER_MAGIC);
	union control control;
	struct iovec iovec = {(void *)(uintptr_t)message, sizeof(*message)};
	struct msghdr header = {.msg_iov = &iovec, .msg_iovlen = 1};

	if (count > 0) {
		memset(&control, 0, sizeof(control));
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	}
	return sendmsg(socket, &header, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int handover_send(
	int socket, const struct handover_message *message, const int *fds, uint32_t count)
{
	return send_message(socket, message, fds, count, 0);
}

int handover_post(
	int socket, const struct handover_message *message, const int *fds, uint32_t count)
{
	return send_message(socket, message, fds, count, MSG_DONTWAIT);
}

static uint32_t take_fds(struct msghdr *header, int *ret_fds)
{
	uint32_t count = 0;

	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		const size_t size = part->cmsg_len - CMSG_LEN(0);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		/* the kernel writes no more than the control buffer holds */
		ASSERT(count + size / sizeof(int) <= HANDOVER_FDS_MAX);
		memcpy(ret_fds + count, CMSG_DATA(part), size);
		count += (uint32_t)(size / sizeof(int));
	}
	return count;
}

static bool is_ours(const struct handover_message *message)
{
	return message->magic == HANDOVER_MAGIC && message->kind >= HANDOVER_HELLO &&
	       message->kind <= HANDOVER_ANSWER &&
	       memchr(message->name, '\0', sizeof(message->name)) != NULL;
}

int handover_receive(
	int socket, struct handover_message *ret_message, int *ret_fds, uint32_t *ret_count)
{
	union control control;
	struct handover_message message;
	struct iovec iovec = {&message, sizeof(message)};
	struct msghdr header = {.msg_iov = &iovec,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	const ssize_t size = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	uint32_t count;

	if (size < 0)
		return -errno;
	count = take_fds(&header, ret_fds);
	if (size == 0 && count == 0)
		return -ECONNRESET;
	if (size != (ssize_t)sizeof(message) || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
		!is_ours(&message)) {
		close_fds(ret_fds, count);
		return -EBADMSG;
	}
	*ret_message = message;
	*ret_count = count;
	return 0;
}
