/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks go from what is cheap and certain to what costs: is it there, is it ours to trace,
 * does a device write into its memory, what memory has it, is that memory free to be taken over.
 * Each refusal names the process, the cause and what to do. Nothing here changes the target.
 */
#include "ctl/target.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ctl/permit.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "io/uffd.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define LINK_BYTES   256
#define FDINFO_BYTES 512

#define QEMU_HINT                                                                                  \
	"start QEMU with -object memory-backend-memfd,id=mem,size=SIZE,share=on "                  \
	"-machine memory-backend=mem, or libvirt with <memoryBacking><source type='memfd'/>"       \
	"<access mode='shared'/></memoryBacking>"

static int refuse_gone(pid_t pid, struct problem *problem)
{
	return problem_set(problem, -ESRCH, "process-gone", "there is no process %d", pid);
}

static int open_pidfd(pid_t pid, int *ret_pidfd, struct problem *problem)
{
	int pidfd = (int)errno_of(syscall(SYS_pidfd_open, pid, 0)); /* @control pidfd_open */

	if (pidfd == -EINVAL || pidfd == -ENOENT)
		return problem_set(problem, -EINVAL, "not-a-process",
			"%d is a thread; name the process it belongs to (Tgid in /proc/%d/status)",
			pid, pid);
	if (pidfd == -ESRCH)
		return refuse_gone(pid, problem);
	if (pidfd < 0)
		return problem_set(problem, pidfd, "pidfd", "process %d cannot be opened: %s", pid,
			strerror(-pidfd));
	*ret_pidfd = pidfd;
	return 0;
}

/* Who it is. */
static int identify(struct target *target, struct problem *problem)
{
	struct procfs_stat stat;
	struct procfs_status status;
	int error = procfs_stat(target->pid, 0, &stat);

	if (!error)
		error = procfs_status(target->pid, 0, &status);
	if (error == -ESRCH || (!error && strchr("ZX", stat.state)))
		return refuse_gone(target->pid, problem);
	if (error)
		return problem_set(problem, error, "proc", "/proc/%d/status cannot be read: %s",
			target->pid, strerror(-error));
	if (!status.has_memory)
		return problem_set(problem, -EINVAL, "kernel-thread",
			"%d (%s) is a kernel thread and has no memory of its own", target->pid,
			stat.comm);
	if (status.pinned_bytes > 0)
		return problem_set(problem, -EOPNOTSUPP, "pinned-memory",
			"%lu KiB of process %d (%s) are pinned for a device (VmPin): it writes to "
			"them "
			"behind our back; detach the VFIO, vDPA or RDMA device first",
			status.pinned_bytes / KIB, target->pid, stat.comm);
	target->start_time = stat.start_time;
	target->uid = status.uid;
	static_assert(sizeof(target->comm) == sizeof(stat.comm), "names are copied whole");
	memcpy(target->comm, stat.comm, sizeof(target->comm));
	return 0;
}

/* What descriptor @fd of a process is open on; false when it is closed. */
static bool read_link(pid_t pid, int fd, char ret_link[LINK_BYTES])
{
	char path[PROCFS_PATH_BYTES];
	ssize_t size;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	size = readlink(path, ret_link, LINK_BYTES - 1);
	if (size < 0)
		return false;
	ret_link[size] = '\0';
	return true;
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static int visit_descriptors(pid_t pid, procfs_visit *visit, void *context)
{
	char path[PROCFS_PATH_BYTES];

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	return procfs_each(path, visit, context);
}

struct device_search {
	pid_t pid;
	char link[LINK_BYTES]; /* the device found */
};

/* Devices that are given guest memory to write to for as long as they are open. */
static int visit_device(void *context, int fd)
{
	struct device_search *search = context;

	return read_link(search->pid, fd, search->link) &&
	       (starts_with(search->link, "/dev/vfio/") ||
		       starts_with(search->link, "anon_inode:[vfio-device]") ||
		       starts_with(search->link, "/dev/iommu") ||
		       starts_with(search->link, "/dev/vhost-vdpa"));
}

static int check_devices(const struct target *target, struct problem *problem)
{
	struct device_search search = {.pid = target->pid};
	int found = visit_descriptors(target->pid, visit_device, &search);

	if (found == -ESRCH)
		return refuse_gone(target->pid, problem);
	if (found < 0)
		return problem_set(problem, found, "proc", "/proc/%d/fd cannot be read: %s",
			target->pid, strerror(-found));
	if (found == 0)
		return 0;
	return problem_set(problem, -EOPNOTSUPP, "vfio",
		"process %d (%s) has %s open: the device writes to guest memory behind our back; "
		"remove it from the VM first",
		target->pid, target->comm, search.link);
}

/* There is no memory to take: says what there is instead. */
static int refuse_memory(
	const struct target *target, const struct target_options *options, struct problem *problem)
{
	const struct mapping_list *memory = &target->memory;

	if (memory->largest_hugetlb_bytes >= options->min_bytes)
		return problem_set(problem, -EOPNOTSUPP, "hugetlbfs",
			"the memory of process %d (%s) is hugetlbfs (%lu MiB), which cannot be "
			"swapped in "
			"4 KiB pages; back the guest with a memfd without hugetlb=on",
			target->pid, target->comm, memory->largest_hugetlb_bytes / MIB);
	if (memory->largest_private_bytes >= options->min_bytes)
		return problem_set(problem, -ENXIO, "not-shared",
			"process %d (%s) has no shared guest memory, its largest memory (%lu MiB) "
			"is "
			"private; " QEMU_HINT,
			target->pid, target->comm, memory->largest_private_bytes / MIB);
	if (memory->largest_shared_bytes > 0)
		return problem_set(problem, -ENXIO, "too-small",
			"the largest shared memory of process %d (%s) has %lu KiB, less than the "
			"%lu KiB "
			"that count as a guest's; lower --min-size if it is one",
			target->pid, target->comm, memory->largest_shared_bytes / KIB,
			options->min_bytes / KIB);
	return problem_set(problem, -ENXIO, "no-guest-memory",
		"process %d (%s) maps no memory of a guest's size; " QEMU_HINT, target->pid,
		target->comm);
}

static int check_mapping(const struct target *target, const struct target_options *options,
	const struct mapping *mapping, struct problem *problem)
{
	if (mapping->is_locked && !options->allow_locked)
		return problem_set(problem, -EOPNOTSUPP, "locked-memory",
			"guest memory %s of process %d (%s) is locked (mlock), somebody wants it "
			"never "
			"swapped; start the VMM without it (QEMU: -overcommit mem-lock=off), or "
			"attach "
			"with --allow-locked",
			mapping->name, target->pid, target->comm);
	if (mapping->is_registered)
		return problem_set(problem, -EBUSY, "userfaultfd-present",
			"guest memory %s of process %d (%s) has a userfaultfd already: a "
			"migration, a "
			"snapshot or another vmswapd is at work; try again when it is done",
			mapping->name, target->pid, target->comm);
	return 0;
}

static int check_memory(
	struct target *target, const struct target_options *options, struct problem *problem)
{
	int error = maps_read(target->pid, options->min_bytes, &target->memory);

	if (error == -ESRCH)
		return refuse_gone(target->pid, problem);
	if (error)
		return problem_set(problem, error, "proc", "/proc/%d/smaps cannot be read: %s",
			target->pid, strerror(-error));
	if (target->memory.count == 0)
		return refuse_memory(target, options, problem);
	for (uint32_t i = 0; i < target->memory.count && !error; i++)
		error = check_mapping(target, options, &target->memory.item[i], problem);
	return error;
}

int target_open(pid_t pid, const struct target_options *options, struct target *ret_target,
	struct problem *problem)
{
	struct target target = {.pid = pid, .pidfd = -1, .uffd = -1};
	int error;

	ASSERT(options->min_bytes > 0);
	if (pid <= 0)
		return refuse_gone(pid, problem);
	if (pid == getpid())
		return problem_set(problem, -EINVAL, "own-process",
			"%d is vmswapd itself, which must never wait for its own faults", pid);
	error = open_pidfd(pid, &target.pidfd, problem);
	if (!error)
		error = identify(&target, problem);
	if (!error)
		error = permit_check(pid, problem);
	if (!error)
		error = check_devices(&target, problem);
	if (!error)
		error = check_memory(&target, options, problem);
	/* All that was asked by number was asked of a process that still has it. */
	if (!error && !target_is_alive(&target))
		error = refuse_gone(pid, problem);
	if (error) {
		target_close(&target);
		return error;
	}
	*ret_target = target;
	return 0;
}

void target_close(struct target *target)
{
	close_fd(target->pidfd);
	close_fd(target->uffd);
	target->pidfd = -1;
	target->uffd = -1;
	maps_free(&target->memory);
}

bool target_is_alive(const struct target *target)
{
	struct pollfd ended = {.fd = target->pidfd, .events = POLLIN};

	/* A pidfd never turns to another process; it becomes readable when the last thread has
	 * ended. */
	ASSERT(target->pidfd >= 0);
	if (poll(&ended, 1, 0) != 0) /* @control poll */
		return false;
	/* Nor does an execve(2) change the pidfd. */
	return target->uffd < 0 || !uffd_is_orphan(target->uffd);
}

/* @fd unless it is not the file that is mapped. */
static int verify(int fd, const struct mapping *mapping)
{
	CLEANUP_FD int owned = fd;
	struct stat status;
	int flags;

	if (owned < 0)
		return owned;
	flags = fcntl(owned, F_GETFL);
	if (fstat(owned, &status) < 0 || flags < 0)
		return -errno;
	if (status.st_ino != mapping->inode || status.st_dev != mapping->device)
		return -ESTALE;
	if ((flags & O_ACCMODE) != O_RDWR)
		return -EACCES;
	return take_fd(&owned);
}

/* A merged mapping is several for the kernel: the first one is named by its start. */
static int open_map_file(const struct target *target, const struct mapping *mapping)
{
	char path[PROCFS_PATH_BYTES];
	char start[32];
	CLEANUP_DIR DIR *directory = NULL;
	struct dirent *entry;

	(void)snprintf(path, sizeof(path), "/proc/%d/map_files", target->pid);
	(void)snprintf(start, sizeof(start), "%lx-", mapping->start);
	directory = opendir(path);
	if (!directory)
		return -errno;
	while ((entry = readdir(directory)))
		if (starts_with(entry->d_name, start))
			return errno_of(
				openat(dirfd(directory), entry->d_name, O_RDWR | O_CLOEXEC));
	return -ENOENT;
}

struct file_search {
	const struct target *target;
	const struct mapping *mapping; /* its device and inode count */
	int fd;			       /* ours, or why there is none: -ENOENT: no such file */
};

static int visit_file(void *context, int remote)
{
	struct file_search *search = context;
	char path[PROCFS_PATH_BYTES];
	struct stat status;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", search->target->pid, remote);
	if (stat(path, &status) < 0 || status.st_ino != search->mapping->inode ||
		status.st_dev != search->mapping->device)
		return 0;
	search->fd =
		/* @control pidfd_getfd */
		verify((int)errno_of(syscall(SYS_pidfd_getfd, search->target->pidfd, remote, 0)),
			search->mapping);
	return search->fd >= 0;
}

static int open_descriptor(const struct target *target, const struct mapping *mapping)
{
	struct file_search search = {.target = target, .mapping = mapping, .fd = -ENOENT};
	const int rc = visit_descriptors(target->pid, visit_file, &search);

	return rc < 0 ? rc : search.fd;
}

int target_open_memory(const struct target *target, const struct mapping *mapping)
{
	const int fd = verify(open_map_file(target, mapping), mapping);
	int other;

	ASSERT(target->pidfd >= 0);
	if (fd >= 0)
		return fd;
	other = open_descriptor(target, mapping);
	return other >= 0 ? other : fd;
}

int target_open_file(
	const struct target *target, const struct mapping_list *mappings, dev_t device, ino_t inode)
{
	int fd = -ENOENT;

	for (uint32_t i = 0; fd < 0 && i < mappings->count; i++) {
		const struct mapping *mapping = &mappings->item[i];

		if (mapping->device == device && mapping->inode == inode)
			fd = target_open_memory(target, mapping);
	}
	return fd;
}

int target_open_unmapped(const struct target *target, dev_t device, ino_t inode)
{
	const struct mapping wanted = {.device = device, .inode = inode};

	return open_descriptor(target, &wanted);
}

/* "flags:\t0NNN" in fdinfo is octal. */
static bool is_direct(pid_t pid, int fd)
{
	char path[PROCFS_PATH_BYTES];
	char text[FDINFO_BYTES];
	const char *flags;

	(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	if (procfs_read(path, text, sizeof(text)) <= 0)
		return false;
	flags = strstr(text, "flags:");
	return flags && (strtoul(flags + strlen("flags:"), NULL, 8) & O_DIRECT);
}

static int visit_dma(void *context, int fd)
{
	const pid_t *pid = context;
	char link[LINK_BYTES];

	if (!read_link(*pid, fd, link))
		return 0;
	if (starts_with(link, "anon_inode:[io_uring]") || starts_with(link, "/dev/vhost-scsi"))
		return 1;
	/* On a pipe the same bit means packets. */
	return !starts_with(link, "pipe:") && is_direct(*pid, fd);
}

bool target_may_do_dma(const struct target *target)
{
	pid_t pid = target->pid;

	/* What cannot be read may be anything. */
	return visit_descriptors(pid, visit_dma, &pid) != 0;
}
