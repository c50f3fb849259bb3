/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A userfaultfd belongs to the address space of the process that makes it, so the target itself has
 * to. Two ways:
 *
 *  1. userfaultfd(2), injected. Counts the target's credentials: refused to unprivileged ones when
 *     vm.unprivileged_userfaultfd is 0 (UFFD_USER_MODE_ONLY would pass, but then faults of KVM and
 * of system calls are not served).
 *  2. ioctl(USERFAULTFD_IOC_NEW) on /dev/userfaultfd (Linux 6.1), which asks for no privilege but
 * the right to have opened the device. We open it and hand it over:
 *
 *         target                                   daemon
 *         mmap one page of scratch
 *         socketpair -> (a, b) in scratch          pidfd_getfd(a), sendmsg(a, device)
 *         recvmsg(b) -> device
 *         ioctl(device, NEW) -> userfaultfd        pidfd_getfd(userfaultfd)
 *         close(device), close(b), close(a), munmap
 *
 *     The scratch page is our own, so no byte of the target's memory is written.
 *
 * No call here sleeps (MSG_DONTWAIT, descriptors ready before they are waited for).
 */
#include "ctl/inject_uffd.h"

#include <fcntl.h>
#include <stdalign.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "ctl/problem.h"
#include "ctl/tracee.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define DEVICE "/dev/userfaultfd"
/* USERFAULTFD_IOC_NEW: <linux/userfaultfd.h> is io's alone, and this one call is the target's. */
#define DEVICE_NEW	_IO(0xaa, 0x00)
#define UFFD_OPEN_FLAGS (O_CLOEXEC | O_NONBLOCK)

/* What lies in the scratch page: the socket pair, then one recvmsg(2) with everything it points at.
 */
struct scratch {
	int pair[2];
	struct msghdr message;
	struct iovec vector;
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
};

static_assert(sizeof(struct scratch) <= PAGE_BYTES, "one page is mapped");

static long call3(struct tracee *tracee, long number, uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t argument[6] = {a, b, c};

	return tracee_call(tracee, number, argument);
}

static void close_remote(struct tracee *tracee, int remote)
{
	if (remote >= 0)
		(void)call3(tracee, SYS_close, (uint64_t)remote, 0, 0);
}

static int read_scratch(const struct tracee *tracee, uint64_t address, struct scratch *ret_scratch)
{
	struct iovec local = {.iov_base = ret_scratch, .iov_len = sizeof(*ret_scratch)};
	struct iovec remote = {.iov_base = (void *)address, .iov_len = sizeof(*ret_scratch)};
	ssize_t done = process_vm_readv(tracee->pid, &local, 1, &remote, 1, 0);

	if (done < 0)
		return -errno;
	return done == (ssize_t)sizeof(*ret_scratch) ? 0 : -EFAULT;
}

static int write_scratch(
	const struct tracee *tracee, uint64_t address, const struct scratch *scratch)
{
	struct scratch copy = *scratch;
	struct iovec local = {.iov_base = &copy, .iov_len = sizeof(copy)};
	struct iovec remote = {.iov_base = (void *)address, .iov_len = sizeof(copy)};
	ssize_t done = process_vm_writev(tracee->pid, &local, 1, &remote, 1, 0);

	if (done < 0)
		return -errno;
	return done == (ssize_t)sizeof(copy) ? 0 : -EFAULT;
}

/* Puts @fd into the socket, so that the receiver finds it without waiting. */
static int send_descriptor(int socket_fd, int fd)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	char byte = 0;
	struct iovec vector = {.iov_base = &byte, .iov_len = sizeof(byte)};
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	ASSERT(header);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int bring(int pidfd, int remote)
{
	return (int)errno_of(syscall(SYS_pidfd_getfd, pidfd, remote, 0));
}

/* A message header whose pointers are addresses of the target. */
static void lay_out(struct scratch *scratch, uint64_t address)
{
	scratch->vector = (struct iovec){
		.iov_base = (void *)(address + offsetof(struct scratch, byte)),
		.iov_len = sizeof(scratch->byte),
	};
	scratch->message = (struct msghdr){
		.msg_iov = (void *)(address + offsetof(struct scratch, vector)),
		.msg_iovlen = 1,
		.msg_control = (void *)(address + offsetof(struct scratch, control)),
		.msg_controllen = sizeof(scratch->control),
	};
}

/* The device's number in the target, received there from the socket. */
static int receive_device(struct tracee *tracee, uint64_t address, struct scratch *scratch)
{
	long result;
	int device;
	int error;

	lay_out(scratch, address);
	error = write_scratch(tracee, address, scratch);
	if (error)
		return error;
	result = call3(tracee, SYS_recvmsg, (uint64_t)scratch->pair[1],
		address + offsetof(struct scratch, message), MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (result < 0)
		return (int)result;
	error = read_scratch(tracee, address, scratch);
	if (error)
		return error;
	if (scratch->message.msg_controllen < CMSG_LEN(sizeof(int)))
		return -EMFILE; /* the kernel dropped it: no descriptor was free */
	memcpy(&device, CMSG_DATA(&scratch->control.header), sizeof(device));
	return device;
}

/* Over a socket pair that exists in the target. Its number there, or -errno. */
static int pass_over_pair(
	struct tracee *tracee, int pidfd, uint64_t address, struct scratch *scratch, int device)
{
	CLEANUP_FD int ours = bring(pidfd, scratch->pair[0]);
	int error;

	if (ours < 0)
		return ours;
	error = send_descriptor(ours, device);
	return error ? error : receive_device(tracee, address, scratch);
}

static int pass_with_scratch(struct tracee *tracee, int pidfd, uint64_t address, int device)
{
	const uint64_t pair[6] = {AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, address};
	struct scratch scratch = {.pair = {-1, -1}};
	int remote = (int)tracee_call(tracee, SYS_socketpair, pair);

	if (remote == 0)
		remote = read_scratch(tracee, address, &scratch);
	if (remote < 0)
		return remote;
	remote = pass_over_pair(tracee, pidfd, address, &scratch, device);
	close_remote(tracee, scratch.pair[0]);
	close_remote(tracee, scratch.pair[1]);
	return remote;
}

/* Gives the target our open @device: its number there, or -errno. */
static int pass_device(struct tracee *tracee, int pidfd, int device)
{
	const uint64_t map[6] = {
		0, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, UINT64_MAX, 0};
	long address = tracee_call(tracee, SYS_mmap, map);
	int remote;

	if (address < 0)
		return (int)address;
	remote = pass_with_scratch(tracee, pidfd, (uint64_t)address, device);
	(void)call3(tracee, SYS_munmap, (uint64_t)address, PAGE_BYTES, 0);
	return remote;
}

/* How the target makes one more userfaultfd. */
struct maker {
	struct tracee *tracee;
	int pidfd;
	int device; /* number of the open device in the target, or -1: the system call will do */
};

static int make_there(const struct maker *maker)
{
	if (maker->device < 0)
		return (int)call3(maker->tracee, SYS_userfaultfd, UFFD_OPEN_FLAGS, 0, 0);
	return (int)call3(
		maker->tracee, SYS_ioctl, (uint64_t)maker->device, DEVICE_NEW, UFFD_OPEN_FLAGS);
}

static int make_one(const struct maker *maker, int *ret_fd, int *ret_remote)
{
	int remote = make_there(maker);
	int fd;

	if (remote < 0)
		return remote;
	fd = bring(maker->pidfd, remote);
	if (fd < 0) {
		close_remote(maker->tracee, remote);
		return fd;
	}
	*ret_fd = fd;
	*ret_remote = remote;
	return 0;
}

static int make_all(const struct maker *maker, uint32_t count, int *ret_fds, int *ret_remote)
{
	uint32_t made = 0;
	int error = 0;

	while (!error && made < count) {
		error = make_one(maker, &ret_fds[made], &ret_remote[made]);
		made += error == 0;
	}
	while (error && made > 0) {
		made--;
		close_fd(ret_fds[made]);
		/* Of a thread that is frozen, each would be waited for. */
		if (error != -ETIMEDOUT)
			close_remote(maker->tracee, ret_remote[made]);
	}
	return error;
}

static int make_through_device(struct maker *maker, uint32_t count, int *ret_fds, int *ret_remote)
{
	CLEANUP_FD int device = open(DEVICE, O_RDWR | O_CLOEXEC);
	int error;

	if (device < 0)
		return -EPERM;
	maker->device = pass_device(maker->tracee, maker->pidfd, device);
	if (maker->device < 0)
		return maker->device;
	error = make_all(maker, count, ret_fds, ret_remote);
	close_remote(maker->tracee, maker->device);
	return error;
}

static int explain(const struct tracee *tracee, int error, struct problem *problem)
{
	if (error == -EPERM)
		return problem_set(problem, error, "userfaultfd-forbidden",
			"process %d may not make a userfaultfd and %s cannot be opened: set "
			"vm.unprivileged_userfaultfd=1, or allow vmswapd the device (Linux 6.1)",
			tracee->pid, DEVICE);
	if (error == -EMFILE || error == -ENFILE)
		return problem_set(problem, error, "no-descriptors",
			"process %d (or vmswapd) has no free descriptor for its userfaultfds; "
			"raise its "
			"limit: prlimit --pid %d --nofile=…",
			tracee->pid, tracee->pid);
	if (error == -ENOSYS)
		return problem_set(problem, error, "no-userfaultfd",
			"the kernel has no userfaultfd (CONFIG_USERFAULTFD)");
	if (error == -ESRCH)
		return problem_set(
			problem, error, "process-gone", "process %d has ended", tracee->pid);
	return problem_set(problem, error, "userfaultfd-failed",
		"making a userfaultfd in process %d: %s", tracee->pid, strerror(-error));
}

int inject_uffd_make(struct tracee *tracee, uint32_t count, int *ret_fds, int *ret_remote,
	struct problem *problem)
{
	struct maker maker = {.tracee = tracee, .device = -1};
	CLEANUP_FD int pidfd = (int)syscall(SYS_pidfd_open, tracee->pid, 0);
	int error;

	ASSERT(count > 0);
	if (pidfd < 0)
		return explain(tracee, -errno, problem);
	maker.pidfd = pidfd;
	error = make_all(&maker, count, ret_fds, ret_remote);
	if (error == -EPERM)
		error = make_through_device(&maker, count, ret_fds, ret_remote);
	return error ? explain(tracee, error, problem) : 0;
}
