/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/notify.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "queue/base/err.h"

/* The listener's queue may be full: how long the sender waits, at most. */
#define SEND_WAIT_MS 100

/* How much of @ret_address is used; 0: nobody listens; -ENAMETOOLONG. */
static int find_listener(struct sockaddr_un *ret_address)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length;

	if (!path || (path[0] != '/' && path[0] != '@'))
		return 0;
	length = strlen(path);
	if (length >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret_address->sun_path, path, length);
	if (path[0] == '@') /* the abstract name space */
		ret_address->sun_path[0] = '\0';
	return (int)(offsetof(struct sockaddr_un, sun_path) + length);
}

static int send_to(struct sockaddr_un *address, socklen_t size, const char *state, int passed)
{
	/* @control socket */
	CLEANUP_FD int fd = errno_of(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	const struct timeval wait = {.tv_usec = SEND_WAIT_MS * 1000};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec iovec = {(void *)(uintptr_t)state, strlen(state)};
	struct msghdr header = {
		.msg_name = address, .msg_namelen = size, .msg_iov = &iovec, .msg_iovlen = 1};

	if (fd < 0)
		return fd;
	/* @control setsockopt */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (passed >= 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &passed, sizeof(int));
		header.msg_control = &control;
		header.msg_controllen = sizeof(control);
	}
	return sendmsg(fd, &header, MSG_NOSIGNAL) < 0 ? -errno : 0; /* @control sendmsg */
}

int notify_send_fd(const char *state, int fd)
{
	struct sockaddr_un address;
	const int size = find_listener(&address);

	return size <= 0 ? size : send_to(&address, (socklen_t)size, state, fd);
}

int notify_send(const char *state)
{
	return notify_send_fd(state, -1);
}
