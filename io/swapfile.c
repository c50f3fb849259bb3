/* SPDX-License-Identifier: Apache-2.0 */
#include "io/swapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/magic.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Guest memory lies in it: nobody but the owner. */
#define STORE_MODE 0600
#define STORE_OPEN (O_RDWR | O_DIRECT | O_CLOEXEC)

/* Slot numbers are 32 bits: just under 16 TiB. */
#define STORE_BYTES_MAX ((uint64_t)(UINT32_MAX / CHUNK_PAGES) * CHUNK_BYTES)

static uint64_t whole_chunks(uint64_t bytes)
{
	return bytes / CHUNK_BYTES * CHUNK_BYTES;
}

/* open(2) says EINVAL where the file system has no O_DIRECT. */
static int direct_error(int result)
{
	return result == -EINVAL ? -EOPNOTSUPP : result;
}

/* For file systems without O_TMPFILE: created under a name that is gone at once. */
static int open_unlinked(const char *directory)
{
	char path[PATH_MAX];
	const int length = snprintf(path, sizeof(path), "%s/vmswap-XXXXXX", directory);
	int fd;

	if (length < 0 || (size_t)length >= sizeof(path))
		return -ENAMETOOLONG;
	fd = errno_of(mkostemp(path, O_DIRECT | O_CLOEXEC));
	if (fd >= 0)
		(void)unlink(path); /* @unfiltered unlink */
	return direct_error(fd);
}

static int open_unnamed(const char *directory)
{
	/* @unfiltered openat */
	const int fd = errno_of(open(directory, STORE_OPEN | O_TMPFILE, STORE_MODE));

	if (fd == -EOPNOTSUPP || fd == -EINVAL)
		return open_unlinked(directory);
	return fd;
}

/* flock(2) is held by the descriptor, so it ends with the daemon however that dies. */
static int open_named(const char *path)
{
	const int flags = STORE_OPEN | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
	CLEANUP_FD int fd = errno_of(open(path, flags, STORE_MODE)); /* @unfiltered openat */
	struct stat status;

	if (fd < 0)
		return direct_error(fd);
	if (fstat(fd, &status) < 0) /* @unfiltered fstat */
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) /* @unfiltered flock */
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fchmod(fd, STORE_MODE) < 0) /* @unfiltered fchmod */
		return -errno;
	return take_fd(&fd);
}

/* O_EXCL on a block device: -EBUSY while it is mounted, swapped to, or opened so by another. */
static int open_device(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0) /* @unfiltered newfstatat */
		return -errno;
	if (!S_ISBLK(status.st_mode))
		return -ENOTBLK;
	return direct_error(errno_of(open(path, STORE_OPEN | O_EXCL))); /* @unfiltered openat */
}

int swapfile_reopen(const char *path, enum swapfile_kind kind)
{
	CLEANUP_FD int fd = -1;

	if (kind == SWAPFILE_DEVICE)
		return open_device(path);
	fd = errno_of(open(path, STORE_OPEN | O_NOFOLLOW | O_NONBLOCK)); /* @unfiltered openat */
	if (fd < 0)
		return direct_error(fd);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) /* @unfiltered flock */
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return take_fd(&fd);
}

static int open_store(const struct swapfile_config *config)
{
	switch (config->kind) {
	case SWAPFILE_UNNAMED: return open_unnamed(config->path);
	case SWAPFILE_NAMED: return open_named(config->path);
	case SWAPFILE_DEVICE: return open_device(config->path);
	}
	UNREACHABLE();
}

/* What a device holds, or what the file has and its file system has free. */
static int capacity(int fd, enum swapfile_kind kind, uint64_t *ret_bytes)
{
	struct statvfs space;
	struct stat status;

	if (kind == SWAPFILE_DEVICE)
		return errno_of(ioctl(fd, BLKGETSIZE64, ret_bytes)); /* @unfiltered ioctl */
	if (fstatvfs(fd, &space) < 0 || fstat(fd, &status) < 0)	     /* @unfiltered fstatfs fstat */
		return -errno;
	*ret_bytes = (uint64_t)space.f_bavail * space.f_frsize + (uint64_t)status.st_blocks * 512;
	return 0;
}

static int decide_size(int fd, const struct swapfile_config *config, uint64_t *ret_size_bytes)
{
	uint64_t bytes = config->limit_bytes;
	int result;

	if (bytes == 0 || config->kind == SWAPFILE_DEVICE) {
		uint64_t available = 0;

		result = capacity(fd, config->kind, &available);
		if (result < 0)
			return result;
		bytes = bytes == 0 ? available : MIN(bytes, available);
		if (bytes < CHUNK_BYTES)
			return -ENOSPC;
	}
	if (bytes < CHUNK_BYTES)
		return -EINVAL;
	*ret_size_bytes = whole_chunks(MIN(bytes, STORE_BYTES_MAX));
	return 0;
}

/* Sparse. A file that is longer already is left as it is: its tail may hold somebody's pages. */
static int grow(int fd, uint64_t size_bytes)
{
	struct stat status;

	if (fstat(fd, &status) < 0) /* @unfiltered fstat */
		return -errno;
	if ((uint64_t)status.st_size >= size_bytes)
		return 0;
	return errno_of(ftruncate(fd, (off_t)size_bytes)); /* @unfiltered ftruncate */
}

/* Unwritten extents (fallocate) would be converted by each first write, so zeros are written. */
static int write_all(int fd, uint64_t size_bytes)
{
	CLEANUP_FREE void *zeros = aligned_alloc(PAGE_BYTES, CHUNK_BYTES);

	if (!zeros)
		return -ENOMEM;
	memset(zeros, 0, CHUNK_BYTES);
	for (uint64_t offset = 0; offset < size_bytes; offset += CHUNK_BYTES) {
		/* @unfiltered pwrite64 */
		const ssize_t written = pwrite(fd, zeros, CHUNK_BYTES, (off_t)offset);

		if (written < 0)
			return -errno;
		if (written != (ssize_t)CHUNK_BYTES)
			return -ENOSPC;
	}
	return 0;
}

int swapfile_open(const struct swapfile_config *config, struct swapfile *ret_swapfile)
{
	CLEANUP_FD int fd = -1;
	uint64_t size_bytes = 0;
	int result;

	ASSERT(config->path);
	fd = open_store(config);
	if (fd < 0)
		return fd;
	result = decide_size(fd, config, &size_bytes);
	if (result < 0)
		return result;
	if (config->kind != SWAPFILE_DEVICE) {
		result = grow(fd, size_bytes);
		if (result < 0)
			return result;
	}
	if (config->is_preallocated && config->kind != SWAPFILE_DEVICE) {
		result = write_all(fd, size_bytes);
		if (result < 0)
			return result;
	}
	ASSERT(size_bytes > 0 && size_bytes % CHUNK_BYTES == 0);
	*ret_swapfile = (struct swapfile){
		.fd = take_fd(&fd),
		.kind = config->kind,
		.size_bytes = size_bytes,
		.is_preallocated = config->is_preallocated,
	};
	return 0;
}

int swapfile_adopt(const struct swapfile *kept, struct swapfile *ret_swapfile)
{
	const int fd = errno_of(fcntl(kept->fd, F_DUPFD_CLOEXEC, 3)); /* @unfiltered fcntl */

	ASSERT(kept->size_bytes > 0 && kept->size_bytes % CHUNK_BYTES == 0);
	if (fd < 0)
		return fd;
	*ret_swapfile = *kept;
	ret_swapfile->fd = fd;
	return 0;
}

/*
 * Of these it is known that they wait for direct writes to end before they punch a hole anywhere in
 * the file (inode_dio_wait()), or write before the call returns (tmpfs). FUSE and what is reached
 * over a network do not.
 */
static bool waits_for_writes(int fd)
{
	static const unsigned long known[] = {
		EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC};
	struct statfs status;

	if (fstatfs(fd, &status) < 0) /* @control fstatfs */
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if ((unsigned long)status.f_type == known[i])
			return true;
	return false;
}

/* A disk without such a file is called quiet: nothing would ever say so. */
bool swapfile_is_quiet(const struct swapfile *swapfile)
{
	char path[64];
	char text[64] = "";
	char *writes;
	CLEANUP_FD int fd = -1;
	struct stat status;

	if (fstat(swapfile->fd, &status) < 0) /* @control fstat */
		return true;
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/inflight", major(status.st_dev),
		minor(status.st_dev));
	fd = open(path, O_RDONLY | O_CLOEXEC);		    /* @control openat */
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0) /* @control read */
		return true;
	(void)strtoul(text, &writes, 10); /* reads, then writes */
	return strtoul(writes, NULL, 10) == 0;
}

/* The threads that could begin another write died with their process. */
int swapfile_drain(const struct swapfile *swapfile, uint64_t offset)
{
	ASSERT(offset % PAGE_BYTES == 0);
	ASSERT(offset < swapfile->size_bytes);
	if (swapfile->kind == SWAPFILE_DEVICE || !waits_for_writes(swapfile->fd))
		return -EOPNOTSUPP;
	/* @control fallocate */
	return errno_of(fallocate(swapfile->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)offset, PAGE_BYTES));
}

void swapfile_close(struct swapfile *swapfile)
{
	ASSERT(swapfile);
	close_fd(swapfile->fd); /* @control close */
	*swapfile = (struct swapfile){.fd = -1};
}
