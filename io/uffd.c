/* SPDX-License-Identifier: Apache-2.0 */
#include "io/uffd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/feature.h"
#include "io/uffd_compat.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define FEATURES_REQUIRED (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM)

/* What a registered range must be able to do. */
#define IOCTLS_REQUIRED                                                                            \
	((uint64_t)1 << _UFFDIO_COPY | (uint64_t)1 << _UFFDIO_CONTINUE |                           \
		(uint64_t)1 << _UFFDIO_ZEROPAGE | (uint64_t)1 << _UFFDIO_WAKE)

/*
 * WP_UNPOPULATED changes nothing on shmem; it came with CONTINUE_MODE_WP in Linux 6.4, which has no
 * bit of its own and without which marks cannot be armed on staged pages.
 */
static const struct {
	uint32_t ours;
	uint64_t kernel;
} feature_table[] = {
	{UFFD_WP, UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
			  UFFD_FEATURE_WP_UNPOPULATED},
	{UFFD_WP_ASYNC_MARK, UFFD_FEATURE_WP_ASYNC},
	{UFFD_CAN_POISON, UFFD_FEATURE_POISON},
	{UFFD_EVENTS,
		UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_FORK},
	{UFFD_EVENT_DISCARD, UFFD_FEATURE_EVENT_REMOVE},
};

static uint32_t features_from_kernel(uint64_t offered)
{
	uint32_t features = 0;

	for (size_t i = 0; i < ARRAY_SIZE(feature_table); i++) {
		if ((offered & feature_table[i].kernel) == feature_table[i].kernel)
			features |= feature_table[i].ours;
	}
	return features;
}

static uint64_t features_to_kernel(uint32_t features)
{
	uint64_t wanted = FEATURES_REQUIRED;

	for (size_t i = 0; i < ARRAY_SIZE(feature_table); i++) {
		if (features & feature_table[i].ours)
			wanted |= feature_table[i].kernel;
	}
	return wanted;
}

int uffd_open(void)
{
	/* @unfiltered openat */
	CLEANUP_FD int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (device >= 0) {
		/* @unfiltered ioctl */
		const int fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);

		if (fd >= 0)
			return fd;
	}
	/* @unfiltered userfaultfd */
	return (int)errno_of(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
}

int uffd_features(uint32_t *ret_features)
{
	struct uffdio_api api = {.api = UFFD_API};
	CLEANUP_FD int fd = uffd_open();

	if (fd < 0)
		return fd;
	if (ioctl(fd, UFFDIO_API, &api) < 0) /* @control ioctl */
		return -errno;
	if ((api.features & FEATURES_REQUIRED) != FEATURES_REQUIRED)
		return -EOPNOTSUPP;
	*ret_features = feature_allowed(features_from_kernel(api.features));
	return 0;
}

int uffd_handshake(int fd, uint32_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features_to_kernel(features)};

	ASSERT(fd >= 0);
	return errno_of(ioctl(fd, UFFDIO_API, &api)); /* @control ioctl */
}

int uffd_register(int fd, uint64_t address, uint64_t size_bytes, bool with_wp)
{
	struct uffdio_register argument = {
		.range = {.start = address, .len = size_bytes},
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
	};
	uint64_t required = IOCTLS_REQUIRED;

	ASSERT(address % PAGE_BYTES == 0);
	ASSERT(size_bytes > 0 && size_bytes % PAGE_BYTES == 0);
	if (with_wp) {
		argument.mode |= UFFDIO_REGISTER_MODE_WP;
		required |= (uint64_t)1 << _UFFDIO_WRITEPROTECT;
	}
	if (ioctl(fd, UFFDIO_REGISTER, &argument) < 0) /* @control ioctl */
		return -errno;
	if ((argument.ioctls & required) == required)
		return 0;
	(void)uffd_unregister(fd, address, size_bytes);
	return -EOPNOTSUPP;
}

int uffd_unregister(int fd, uint64_t address, uint64_t size_bytes)
{
	struct uffdio_range range = {.start = address, .len = size_bytes};
	int result;

	ASSERT(address % PAGE_BYTES == 0);
	result = errno_of(ioctl(fd, UFFDIO_UNREGISTER, &range)); /* @control ioctl */
	/*
	 * The kernel (6.18) wakes the range before it clears the write marks and the registration:
	 * a fault taken in between queues itself behind that wake, and would sleep for ever.
	 */
	(void)uffd_wake(fd, address, size_bytes);
	return result;
}

static enum uffd_kind fault_kind(uint64_t flags)
{
	if (flags & UFFD_PAGEFAULT_FLAG_WP)
		return UFFD_FAULT_WP;
	if (flags & UFFD_PAGEFAULT_FLAG_MINOR)
		return UFFD_FAULT_MINOR;
	return UFFD_FAULT_MISSING;
}

static struct uffd_message parse_fault(const struct uffd_msg *raw)
{
	return (struct uffd_message){
		.kind = fault_kind(raw->arg.pagefault.flags),
		.is_write = raw->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE,
		.fd = -1,
		.address = raw->arg.pagefault.address & ~(uint64_t)(PAGE_BYTES - 1),
	};
}

static struct uffd_message parse_range(const struct uffd_msg *raw, enum uffd_kind kind)
{
	return (struct uffd_message){
		.kind = kind,
		.fd = -1,
		.address = raw->arg.remove.start,
		.end = raw->arg.remove.end,
	};
}

static struct uffd_message parse(const struct uffd_msg *raw)
{
	switch (raw->event) {
	case UFFD_EVENT_PAGEFAULT: return parse_fault(raw);
	case UFFD_EVENT_REMOVE: return parse_range(raw, UFFD_REMOVED);
	case UFFD_EVENT_UNMAP: return parse_range(raw, UFFD_UNMAPPED);
	case UFFD_EVENT_REMAP:
		return (struct uffd_message){
			.kind = UFFD_MOVED,
			.fd = -1,
			.address = raw->arg.remap.from,
			.end = raw->arg.remap.from + raw->arg.remap.len,
			.moved_to = raw->arg.remap.to,
		};
	case UFFD_EVENT_FORK:
		return (struct uffd_message){.kind = UFFD_FORKED, .fd = (int)raw->arg.fork.ufd};
	default: return (struct uffd_message){.kind = UFFD_OTHER, .fd = -1};
	}
}

static struct uffd_msg message_of(const struct uffd_inbox *inbox, uint32_t index)
{
	struct uffd_msg raw;

	static_assert(sizeof(raw) == sizeof(inbox->message[0]), "the kernel's size of a message");
	memcpy(&raw, inbox->message[index], sizeof(raw));
	return raw;
}

int uffd_read(int fd, struct uffd_inbox *inbox, struct uffd_message *ret_messages, uint32_t max)
{
	const size_t size = sizeof(inbox->message[0]);
	ssize_t length;
	int count;

	ASSERT(max > 0 && max <= UFFD_BATCH_MAX);
	length = read(fd, inbox->message, max * size); /* @shard read */
	if (length < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	ASSERT((size_t)length % size == 0);
	count = (int)((size_t)length / size);
	for (int i = 0; i < count; i++) {
		const struct uffd_msg raw = message_of(inbox, (uint32_t)i);

		ret_messages[i] = parse(&raw);
	}
	return count;
}

uint32_t uffd_inbox_children(const struct uffd_inbox *inbox, int *ret_fds)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < UFFD_BATCH_MAX; i++) {
		const struct uffd_msg raw = message_of(inbox, i);

		if (raw.event == UFFD_EVENT_FORK)
			ret_fds[count++] = (int)raw.arg.fork.ufd;
	}
	return count;
}

void uffd_inbox_forget_child(struct uffd_inbox *inbox, uint32_t index)
{
	struct uffd_msg raw = message_of(inbox, index);

	ASSERT(raw.event == UFFD_EVENT_FORK);
	raw.arg.fork.ufd = UINT32_MAX;
	memcpy(inbox->message[index], &raw, sizeof(raw));
}

/*
 * One resolving ioctl over [address, address + size_bytes): its result in the shape that COPY,
 * CONTINUE, ZEROPAGE and POISON share. @done is bytes resolved, or the -errno of the first page.
 */
struct resolve {
	int fd;
	uint64_t address;
	uint64_t size_bytes;
	uint64_t mode;
};

typedef int resolve_call(const struct resolve *resolve, int64_t *ret_done);

static int call_continue(const struct resolve *resolve, int64_t *ret_done)
{
	struct uffdio_continue argument = {
		.range = {.start = resolve->address, .len = resolve->size_bytes},
		.mode = resolve->mode,
	};
	/* @shard ioctl */
	const int result = errno_of(ioctl(resolve->fd, UFFDIO_CONTINUE, &argument));

	*ret_done = argument.mapped;
	return result;
}

static int call_zero(const struct resolve *resolve, int64_t *ret_done)
{
	struct uffdio_zeropage argument = {
		.range = {.start = resolve->address, .len = resolve->size_bytes},
	};
	/* @shard ioctl */
	const int result = errno_of(ioctl(resolve->fd, UFFDIO_ZEROPAGE, &argument));

	*ret_done = argument.zeropage;
	return result;
}

static int call_poison(const struct resolve *resolve, int64_t *ret_done)
{
	struct uffdio_poison argument = {
		.range = {.start = resolve->address, .len = resolve->size_bytes},
	};
	/* @shard @control ioctl */
	const int result = errno_of(ioctl(resolve->fd, UFFDIO_POISON, &argument));

	*ret_done = argument.updated;
	return result;
}

/*
 * A call that stops half-way says EAGAIN and how far it came, whatever stopped it; asking again
 * from there gets the real reason. Bounded: each turn resolves at least one page, or it ends.
 */
static int resolve_range(resolve_call *call, struct resolve resolve, uint64_t *ret_done)
{
	const uint64_t size_bytes = resolve.size_bytes;
	uint64_t total = 0;
	int result = 0;

	ASSERT(resolve.address % PAGE_BYTES == 0);
	ASSERT(size_bytes > 0 && size_bytes % PAGE_BYTES == 0);
	while (total < size_bytes) {
		int64_t done = 0;

		result = call(&resolve, &done);
		if (done <= 0)
			break;
		total += (uint64_t)done;
		resolve.address += (uint64_t)done;
		resolve.size_bytes -= (uint64_t)done;
	}
	ASSERT(total <= size_bytes);
	*ret_done = total;
	if (total == size_bytes)
		return 0;
	return result < 0 ? result : -EIO;
}

/* The result is the last word of both. */
#define CALL_RESULT 4
#define CONTINUE_AT 1
static_assert(offsetof(struct uffdio_copy, copy) == CALL_RESULT * sizeof(uint64_t) &&
		      sizeof(struct uffdio_copy) == sizeof(struct uffd_call),
	"uffd_call is uffdio_copy");
static_assert(offsetof(struct uffdio_continue, mapped) ==
			      (CALL_RESULT - CONTINUE_AT) * sizeof(uint64_t) &&
		      sizeof(struct uffdio_continue) ==
			      sizeof(struct uffd_call) - CONTINUE_AT * sizeof(uint64_t),
	"and has uffdio_continue at its end");

void uffd_call_clear(struct uffd_call *call)
{
	*call = (struct uffd_call){{0}};
}

uint64_t uffd_call_done(const struct uffd_call *call)
{
	const int64_t result = (int64_t)call->word[CALL_RESULT];

	return result > 0 ? (uint64_t)result : 0;
}

int uffd_copy(int fd, struct uffd_call *call, uint64_t address, const void *source,
	uint64_t size_bytes, bool with_wp)
{
	ASSERT(address % PAGE_BYTES == 0 && (uintptr_t)source % PAGE_BYTES == 0);
	ASSERT(size_bytes > 0 && size_bytes % PAGE_BYTES == 0);
	*call = (struct uffd_call){
		{address, (uintptr_t)source, size_bytes, with_wp ? UFFDIO_COPY_MODE_WP : 0, 0}};
	return errno_of(ioctl(fd, UFFDIO_COPY, call)); /* @shard ioctl */
}

int uffd_continue_page(int fd, struct uffd_call *call, uint64_t address, bool with_wp)
{
	ASSERT(address % PAGE_BYTES == 0);
	*call = (struct uffd_call){
		{0, address, PAGE_BYTES, with_wp ? UFFDIO_CONTINUE_MODE_WP : 0, 0}};
	/* @shard ioctl */
	return errno_of(ioctl(fd, UFFDIO_CONTINUE, &call->word[CONTINUE_AT]));
}

int uffd_continue(int fd, uint64_t address, uint64_t size_bytes, bool with_wp, uint64_t *ret_done)
{
	const struct resolve resolve = {
		.fd = fd,
		.address = address,
		.size_bytes = size_bytes,
		.mode = with_wp ? UFFDIO_CONTINUE_MODE_WP : 0,
	};

	return resolve_range(call_continue, resolve, ret_done);
}

int uffd_zero(int fd, uint64_t address, uint64_t size_bytes, uint64_t *ret_done)
{
	const struct resolve resolve = {.fd = fd, .address = address, .size_bytes = size_bytes};

	return resolve_range(call_zero, resolve, ret_done);
}

int uffd_poison(int fd, uint64_t address, uint64_t size_bytes, uint64_t *ret_done)
{
	const struct resolve resolve = {.fd = fd, .address = address, .size_bytes = size_bytes};

	return resolve_range(call_poison, resolve, ret_done);
}

int uffd_unprotect(int fd, uint64_t address, uint64_t size_bytes)
{
	struct uffdio_writeprotect argument = {.range = {.start = address, .len = size_bytes}};

	ASSERT(address % PAGE_BYTES == 0);
	return errno_of(ioctl(fd, UFFDIO_WRITEPROTECT, &argument)); /* @shard ioctl */
}

int uffd_wake(int fd, uint64_t address, uint64_t size_bytes)
{
	struct uffdio_range range = {.start = address, .len = size_bytes};

	ASSERT(address % PAGE_BYTES == 0);
	return errno_of(ioctl(fd, UFFDIO_WAKE, &range)); /* @shard ioctl */
}
