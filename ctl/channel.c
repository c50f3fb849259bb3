/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/channel.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* Unmapping 16 MiB takes milliseconds; a VMM that is stopped takes for ever. */
#define TIMEOUT_MS 10000

struct channel_request {
	uint64_t id;
	uint64_t address;
	uint64_t size_bytes;
};
static_assert(sizeof(struct channel_request) == 24, "wire format");

struct channel_answer {
	uint64_t id;
	int64_t result;
};
static_assert(sizeof(struct channel_answer) == 16, "wire format");

static int wait_readable(int channel, uint64_t deadline_ns)
{
	struct pollfd entry = {.fd = channel, .events = POLLIN};
	uint64_t now_ns = clock_ns();
	int rc;

	if (now_ns >= deadline_ns)
		return -ETIMEDOUT;
	/* @control poll */
	rc = errno_of(poll(&entry, 1, (int)((deadline_ns - now_ns) / NS_PER_MS) + 1));
	return rc == -EINTR ? 0 : rc;
}

/* The answer to @id; older ones, to requests that timed out, are skipped. */
static int receive_answer(int channel, uint64_t id, uint64_t deadline_ns, int64_t *ret_result)
{
	struct channel_answer answer;

	for (;;) {
		int rc = wait_readable(channel, deadline_ns);
		ssize_t got;

		if (rc < 0)
			return rc;
		/* @control recvfrom */
		got = recv(channel, &answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -ECONNRESET;
		if (got != (ssize_t)sizeof(answer) || answer.id > id)
			return -EBADMSG;
		if (answer.id < id)
			continue;
		*ret_result = answer.result;
		return 0;
	}
}

int channel_zap(int channel, uint64_t address, uint64_t size_bytes)
{
	static _Atomic uint64_t last_id;
	struct channel_request request = {
		.id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1,
		.address = address,
		.size_bytes = size_bytes,
	};
	uint64_t deadline_ns = clock_ns() + TIMEOUT_MS * NS_PER_MS;
	int64_t result = 0;
	int rc;

	ASSERT(channel >= 0);
	ASSERT(size_bytes > 0);
	/* @control sendto */
	if (send(channel, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return errno == EPIPE ? -ECONNRESET : -errno;
	rc = receive_answer(channel, request.id, deadline_ns, &result);
	if (rc < 0)
		return rc;
	if (result > 0 || result < -4095) /* the range of errno: the other side is not trusted */
		return -EBADMSG;
	return (int)result;
}
