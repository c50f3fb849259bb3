/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/supervisor/state_dir.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/base/err.h"

/* Of a file, also while it is being written. */
#define NAME_BYTES 32

int state_dir_make(const char *path, bool *ret_is_new)
{
	struct stat found;

	if (mkdir(path, 0700) == 0) {
		*ret_is_new = true;
		return 0;
	}
	if (errno != EEXIST || lstat(path, &found) < 0)
		return -errno;
	if (!S_ISDIR(found.st_mode))
		return -ENOTDIR;
	/* who may write it could tell a later daemon lies about guests */
	if (found.st_uid != geteuid() || (found.st_mode & (S_IWGRP | S_IWOTH)))
		return -EPERM;
	*ret_is_new = false;
	return 0;
}

static int write_text(int folder, const char *name, const char *text)
{
	CLEANUP_FD int fd =
		openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	const size_t size = strlen(text);
	ssize_t written;

	if (fd < 0)
		return -errno;
	written = write(fd, text, size);
	if (written < 0)
		return -errno;
	return (size_t)written == size ? 0 : -ENOSPC;
}

static int open_folder(const char *path)
{
	return errno_of(open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

int state_dir_write(const char *path, const char *name, const char *text)
{
	CLEANUP_FD int folder = open_folder(path);
	char fresh[NAME_BYTES];
	int rc;

	if (folder < 0)
		return folder;
	(void)snprintf(fresh, sizeof(fresh), "%s.new", name);
	rc = write_text(folder, fresh, text);
	if (rc < 0)
		return rc;
	return errno_of(renameat(folder, fresh, folder, name));
}

int state_dir_write_pid(const char *path, const char *name)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%d\n", (int)getpid());
	return state_dir_write(path, name, text);
}

pid_t state_dir_read_pid(const char *path, const char *name)
{
	CLEANUP_FD int folder = open_folder(path);
	CLEANUP_FD int fd = -1;
	char text[16] = "";
	long pid;

	if (folder < 0)
		return folder;
	fd = errno_of(openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
	if (fd < 0)
		return fd;
	if (read(fd, text, sizeof(text) - 1) < 0)
		return -errno;
	pid = strtol(text, NULL, 10);
	return pid > 0 && pid <= INT_MAX ? (pid_t)pid : -ENOMSG;
}

void state_dir_clear(const char *path, bool with_folder)
{
	CLEANUP_FD int folder = open_folder(path);

	if (folder >= 0) {
		(void)unlinkat(folder, STATE_DIR_SUPERVISOR, 0);
		(void)unlinkat(folder, STATE_DIR_WORKER, 0);
	}
	if (with_folder)
		(void)rmdir(path);
}
