/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/remote.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kcmp.h>

#include "ctl/procfs.h"
#include "queue/base/assert.h"

/* What ends the walk is no 0, so numbers count from here. */
#define FOUND 1

struct search {
	pid_t pid;
	int fd;
};

bool remote_is_userfaultfd(pid_t pid, int number)
{
	char path[PROCFS_PATH_BYTES];
	char link[64];
	ssize_t length;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, number);
	length = readlink(path, link, sizeof(link) - 1);
	if (length < 0)
		return false;
	link[length] = '\0';
	return strcmp(link, "anon_inode:[userfaultfd]") == 0;
}

bool remote_is_copy(pid_t pid, int number, int fd)
{
	return remote_is_userfaultfd(pid, number) &&
	       /* @control kcmp */
	       syscall(SYS_kcmp, (long)getpid(), (long)pid, (long)KCMP_FILE, (long)fd,
		       (long)number) == 0;
}

static int visit_fd(void *context, int number)
{
	const struct search *search = context;

	return remote_is_copy(search->pid, number, search->fd) ? FOUND + number : 0;
}

int remote_find(pid_t pid, int fd)
{
	struct search search = {.pid = pid, .fd = fd};
	char path[PROCFS_PATH_BYTES];
	int found;

	ASSERT(fd >= 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	found = procfs_each(path, visit_fd, &search);
	return found >= FOUND ? found - FOUND : -1;
}
