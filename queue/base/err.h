/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors are negative errno values; results go out through ret_ parameters, written on success
 * only. Set-up code owns what it opens through the CLEANUP_ attributes and gives it away with
 * take_fd() or take_pointer().
 */
#ifndef VMSWAP_QUEUE_BASE_ERR_H
#define VMSWAP_QUEUE_BASE_ERR_H

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Turns the -1 of a libc call into -errno at once: errno_of(open(…)). */
#define errno_of(call)                                                                             \
	({                                                                                         \
		__typeof__(call) errno_of_result_ = (call);                                        \
		errno_of_result_ < 0 ? -errno : errno_of_result_;                                  \
	})

static inline void cleanup_fd_(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void cleanup_free_(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_file_(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

static inline void cleanup_dir_(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

#define CLEANUP_FD   __attribute__((cleanup(cleanup_fd_)))
#define CLEANUP_FREE __attribute__((cleanup(cleanup_free_)))
#define CLEANUP_FILE __attribute__((cleanup(cleanup_file_)))
#define CLEANUP_DIR  __attribute__((cleanup(cleanup_dir_)))

/* Ownership leaves the CLEANUP_FD variable. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Ownership leaves the CLEANUP_FREE variable. */
#define take_pointer(variable)                                                                     \
	({                                                                                         \
		__typeof__(*(variable)) taken_ = *(variable);                                      \
		*(variable) = NULL;                                                                \
		taken_;                                                                            \
	})

/* Closes @fd unless it is -1. */
static inline void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

static inline void close_fds(const int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		close_fd(fds[i]);
}

#endif
