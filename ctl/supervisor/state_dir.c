/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/supervisor/state_dir.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/base/err.h"

#define PID_FILE "supervisor.pid"

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

int state_dir_write_pid(const char *path)
{
	CLEANUP_FD int folder = open_folder(path);
	char text[16];
	int rc;

	if (folder < 0)
		return folder;
	(void)snprintf(text, sizeof(text), "%d\n", (int)getpid());
	rc = write_text(folder, PID_FILE ".new", text);
	if (rc < 0)
		return rc;
	return errno_of(renameat(folder, PID_FILE ".new", folder, PID_FILE));
}

void state_dir_clear(const char *path, bool with_folder)
{
	CLEANUP_FD int folder = open_folder(path);

	if (folder >= 0)
		(void)unlinkat(folder, PID_FILE, 0);
	if (with_folder)
		(void)rmdir(path);
}
