/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The swap store: an unnamed file in a directory (O_TMPFILE: gone with its last descriptor), a
 * named file (created 0600, no symlink followed, locked against a second daemon) or a block device
 * (opened exclusively). Always O_DIRECT where the file system has it; without, -EOPNOTSUPP says so.
 */
#ifndef VMSWAP_IO_SWAPFILE_H
#define VMSWAP_IO_SWAPFILE_H

#include <stdbool.h>
#include <stdint.h>

enum swapfile_kind {
	SWAPFILE_UNNAMED, /* path is a directory */
	SWAPFILE_NAMED,
	SWAPFILE_DEVICE,
};

struct swapfile_config {
	enum swapfile_kind kind;
	const char *path;
	uint64_t limit_bytes; /* 0: the device's size, or what the file system has free */
	/*
	 * Writes all of it once, so that no later write has to allocate space (which io_uring then
	 * leaves to a worker, and which made swap-out half as fast), and keeps the space for good.
	 */
	bool is_preallocated;
};

struct swapfile {
	int fd;
	enum swapfile_kind kind;
	uint64_t size_bytes;  /* a multiple of the chunk size */
	bool is_preallocated; /* space of free slots is not to be given back */
};

/*
 * Opens and sizes the store (sparse unless preallocated; a named file is never shrunk). -errno;
 * -EBUSY: in use by another daemon; -ENOSPC: no room for one chunk; -EINVAL: the limit is below a
 * chunk. Set-up threads.
 */
int swapfile_open(const struct swapfile_config *config, struct swapfile *ret_swapfile);
/*
 * A store that nobody has open any more, by its name: for swapfile_adopt(). No symlink is
 * followed, nothing is created or changed. The descriptor, which holds the locks of
 * swapfile_open(), or -errno; -EBUSY as there. Set-up threads.
 */
int swapfile_reopen(const char *path, enum swapfile_kind kind);
/* A predecessor's store: @kept->fd is dup'ed. -errno. Set-up threads. */
int swapfile_adopt(const struct swapfile *kept, struct swapfile *ret_swapfile);
/*
 * Whether no write to the disk below is under way, as far as the kernel tells: swapfile_drain()
 * then ends at once. Any thread.
 */
bool swapfile_is_quiet(const struct swapfile *swapfile);
/*
 * Waits until no write of a predecessor that was killed is under way any more, and gives up the
 * space of [@offset, @offset + one page), which the caller knows to be nobody's. -EOPNOTSUPP where
 * that cannot be known (devices, FUSE, network file systems). May take as long as the disk does,
 * and no read of the file begins meanwhile: set-up threads.
 */
int swapfile_drain(const struct swapfile *swapfile, uint64_t offset);
void swapfile_close(struct swapfile *swapfile);

#endif
