/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/cgroup.h"

#include <glob.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "perf/contestant/leftover.h"
#include "perf/contestant/text_file.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* A killed process ends within milliseconds, unless its memory is large or its disk hangs. */
#define KILL_MS	       10000
#define REMOVE_ROUNDS  500
#define REMOVE_STEP_MS 20

struct path {
	char text[CGROUP_PATH_BYTES + 128];
};

static struct path file_of(const char *group, const char *name)
{
	struct path path;
	const int length = snprintf(path.text, sizeof(path.text), "%s/%s", group, name);

	ASSERT(length > 0);
	ASSERT((size_t)length < sizeof(path.text));
	return path;
}

static bool has_word(const char *text, const char *word)
{
	const size_t length = strlen(word);

	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
		if ((at == text || at[-1] == ' ') && (at[length] == '\0' || at[length] == ' '))
			return true;
	return false;
}

static bool lists_memory(const char *root, const char *name)
{
	const struct path path = file_of(root, name);
	char controllers[512];

	return text_file_read(path.text, controllers, sizeof(controllers)) == 0 &&
	       has_word(controllers, "memory");
}

static bool has_memory(const struct mntent *mount, bool is_v2)
{
	if (strlen(mount->mnt_dir) >= CGROUP_PATH_BYTES)
		return false;
	return is_v2 ? lists_memory(mount->mnt_dir, "cgroup.controllers")
		     : hasmntopt(mount, "memory") != NULL;
}

/* The controller belongs to one hierarchy, whatever else is mounted. */
static int find_root(struct cgroup *ret_group)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const struct mntent *mount;
	int result = -ENOENT;

	if (!mounts)
		return -errno;
	while (result < 0 && (mount = getmntent(mounts)) != NULL) {
		const bool is_v2 = strcmp(mount->mnt_type, "cgroup2") == 0;

		if (!is_v2 && strcmp(mount->mnt_type, "cgroup") != 0)
			continue;
		if (!has_memory(mount, is_v2))
			continue;
		*ret_group = (struct cgroup){.is_v2 = is_v2};
		(void)snprintf(ret_group->root, sizeof(ret_group->root), "%s", mount->mnt_dir);
		result = 0;
	}
	(void)endmntent(mounts);
	return result;
}

static void remove_leftovers(const struct cgroup *group)
{
	const struct path pattern = file_of(group->root, LEFTOVER_PREFIX "*");
	glob_t found;

	if (glob(pattern.text, GLOB_NOSORT | GLOB_ONLYDIR, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct cgroup left = *group;

		if (!leftover_is(strrchr(found.gl_pathv[i], '/') + 1, LEFTOVER_PREFIX))
			continue;
		(void)snprintf(left.path, sizeof(left.path), "%s", found.gl_pathv[i]);
		(void)cgroup_remove(&left);
	}
	globfree(&found);
}

static int enable_controller(struct cgroup *group)
{
	const struct path path = file_of(group->root, "cgroup.subtree_control");
	int error;

	if (!group->is_v2 || lists_memory(group->root, "cgroup.subtree_control"))
		return 0;
	error = text_file_write(path.text, "+memory");
	group->has_enabled = error == 0;
	return error;
}

int cgroup_make(struct cgroup *ret_group)
{
	struct cgroup group;
	int error = find_root(&group);

	if (error < 0)
		return error;
	remove_leftovers(&group);
	error = enable_controller(&group);
	if (error < 0)
		return error;
	(void)snprintf(group.path, sizeof(group.path), "%s/" LEFTOVER_PREFIX "%d", group.root,
		(int)getpid());
	if (mkdir(group.path, 0755) < 0)
		return -errno;
	*ret_group = group;
	return 0;
}

int cgroup_add(const struct cgroup *group, pid_t pid)
{
	const struct path path = file_of(group->path, "cgroup.procs");
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	return text_file_write(path.text, text);
}

/*
 * v1 refuses a limit that it does not reach, once it has tried. v2's memory.max would kill; .high
 * only tries.
 */
int cgroup_squeeze(const struct cgroup *group)
{
	const struct path limit =
		file_of(group->path, group->is_v2 ? "memory.high" : "memory.limit_in_bytes");
	const int error = text_file_write(limit.text, "0");

	if (error < 0 && error != -EBUSY)
		return error;
	return text_file_write(limit.text, group->is_v2 ? "max" : "-1");
}

static void kill_and_wait(pid_t pid)
{
	CLEANUP_FD int pidfd = (int)errno_of(syscall(SYS_pidfd_open, pid, 0));
	struct pollfd end = {.fd = pidfd, .events = POLLIN};

	if (pidfd < 0 || syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0)
		return;
	(void)poll(&end, 1, KILL_MS);
}

static void kill_members(const struct cgroup *group)
{
	const struct path path = file_of(group->path, "cgroup.procs");
	CLEANUP_FILE FILE *members = fopen(path.text, "re");
	char line[32];

	while (members && fgets(line, sizeof(line), members)) {
		const pid_t pid = (pid_t)strtol(line, NULL, 10);

		/* 0: of a pid namespace that we do not see. */
		if (pid > 0)
			kill_and_wait(pid);
	}
}

/* A member that has ended may still count for a moment. */
int cgroup_remove(struct cgroup *group)
{
	const struct timespec step = {.tv_nsec = REMOVE_STEP_MS * (long)NS_PER_MS};
	const struct path control = file_of(group->root, "cgroup.subtree_control");
	int error = -EBUSY;

	if (group->path[0] == '\0')
		return 0;
	for (int round = 0; round < REMOVE_ROUNDS && error == -EBUSY; round++) {
		if (round > 0)
			(void)nanosleep(&step, NULL);
		kill_members(group);
		error = errno_of(rmdir(group->path));
	}
	if (error < 0 && error != -ENOENT)
		return error;
	group->path[0] = '\0';
	if (group->has_enabled)
		(void)text_file_write(control.text, "-memory");
	return 0;
}
