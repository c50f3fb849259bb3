/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/remote.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kcmp.h>

#include "ctl/procfs.h"
#include "queue/base/assert.h"

struct search {
	pid_t pid;
	const int *fds;
	uint32_t count;
	int *remote;
	uint32_t found;
};

static bool is_userfaultfd(pid_t pid, int number)
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

static bool is_one_of(const struct search *search, int number)
{
	for (uint32_t i = 0; i < search->count; i++) {
		if (syscall(SYS_kcmp, (long)getpid(), (long)search->pid, (long)KCMP_FILE,
			    (long)search->fds[i], (long)number) == 0)
			return true;
	}
	return false;
}

static int visit_fd(void *context, int number)
{
	struct search *search = context;

	if (is_userfaultfd(search->pid, number) && is_one_of(search, number))
		search->remote[search->found++] = number;
	return search->found == search->count;
}

uint32_t remote_find(pid_t pid, const int *fds, uint32_t count, int *ret_remote)
{
	struct search search = {.pid = pid, .fds = fds, .count = count, .remote = ret_remote};
	char path[PROCFS_PATH_BYTES];

	ASSERT(count >= 1);
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	(void)procfs_each(path, visit_fd, &search);
	ASSERT(search.found <= count);
	return search.found;
}
