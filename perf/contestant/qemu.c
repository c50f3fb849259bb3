/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU-postcopy-style: the source, and both ends as a contestant. */
#include "perf/contestant/qemu.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "perf/contestant/contestant.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

static bool page_is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

static int send_page(const struct qemu *qemu, uint64_t offset)
{
	uint8_t *page = qemu->stash.memory + offset;
	const bool is_zero = page_is_zero(page);
	uint64_t header = offset | (is_zero ? QEMU_PAGE_IS_ZERO : 0);
	struct iovec parts[] = {{&header, sizeof(header)}, {page, PAGE_BYTES}};
	const struct msghdr message = {.msg_iov = parts, .msg_iovlen = is_zero ? 1 : 2};
	const size_t size = sizeof(header) + (is_zero ? 0 : PAGE_BYTES);

	return sendmsg(qemu->channel[0], &message, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -EPIPE;
}

static void source_main(const struct contestant *self, int socket)
{
	const struct qemu *qemu = self->state;
	struct qemu_request request;

	(void)close(qemu->channel[1]);
	contestant_pin_handler(self);
	handler_ready(socket, stash_populate(&qemu->stash));
	while (recv(qemu->channel[0], &request, sizeof(request), MSG_WAITALL) == sizeof(request)) {
		ASSERT(request.offset % PAGE_BYTES == 0);
		ASSERT(request.offset < qemu->stash.size_bytes);
		if (send_page(qemu, request.offset) < 0)
			return;
	}
}

static int start_ends(struct contestant *self, struct qemu *qemu)
{
	int error = stash_open(client_pages(self->client) * PAGE_BYTES, &qemu->stash);

	if (error < 0)
		return contestant_fail(self, error, "no memory for a copy of the client's");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qemu->channel) < 0)
		return contestant_fail(self, -errno, "no socket: %s", strerror(errno));
	error = handler_start(self, source_main, &qemu->source);
	if (error < 0)
		return error;
	error = client_userfaultfd(self->client, UFFD_FEATURE_MISSING_SHMEM,
		UFFDIO_REGISTER_MODE_MISSING, false, &qemu->uffd);
	if (error < 0)
		return contestant_fail(self, error, "no userfaultfd: %s", strerror(-error));
	return handler_start(self, qemu_destination_main, &qemu->destination);
}

/* Each end keeps its own only, so that it gets to know when the other dies. */
static void close_descriptors(struct qemu *qemu)
{
	close_fd(qemu->channel[0]);
	close_fd(qemu->channel[1]);
	close_fd(qemu->uffd);
	qemu->channel[0] = -1;
	qemu->channel[1] = -1;
	qemu->uffd = -1;
}

static int open_qemu(struct contestant *self)
{
	struct qemu *qemu;
	int error;

	if (self->setup.client.is_anonymous)
		return contestant_fail(self, -EINVAL, "this peer serves shared memory");
	qemu = calloc(1, sizeof(*qemu));
	if (!qemu)
		return contestant_fail(self, -ENOMEM, "no memory");
	self->state = qemu;
	qemu->channel[0] = -1;
	qemu->channel[1] = -1;
	qemu->uffd = -1;
	error = start_ends(self, qemu);
	close_descriptors(qemu);
	return error;
}

/* All pages go to the source. The client does not run meanwhile, as in a migration. */
static int stage(struct contestant *self)
{
	const struct qemu *qemu = self->state;
	const uint64_t begin_ns = clock_ns();
	struct handler_answer answer;
	uint64_t bytes = 0;
	int error = handler_call(&qemu->destination, QEMU_FORGET, &answer);

	if (error == 0)
		error = stash_take(&qemu->stash, client_memfd(self->client), &bytes);
	if (error < 0)
		return contestant_fail(self, error, "staging: %s", strerror(-error));
	self->moved_bytes = bytes;
	self->moved_ns = clock_ns() - begin_ns;
	self->freeze_ns = 0;
	return 0;
}

static uint64_t cpu_ns(struct contestant *self)
{
	const struct qemu *qemu = self->state;

	return contestant_process_cpu_ns(qemu->source.pid) +
	       contestant_process_cpu_ns(qemu->destination.pid);
}

static void close_qemu(struct contestant *self)
{
	struct qemu *qemu = self->state;

	if (!qemu)
		return;
	handler_stop(&qemu->destination);
	handler_stop(&qemu->source);
	stash_close(&qemu->stash);
	free(qemu);
	self->state = NULL;
}

const struct contestant_operations contestant_qemu = {
	.name = "qemu-postcopy-style",
	.open = open_qemu,
	.stage = stage,
	.cpu_ns = cpu_ns,
	.close = close_qemu,
};
