/* SPDX-License-Identifier: Apache-2.0 */
#include "freezer.h"

#include <fcntl.h>
#include <mntent.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl/procfs.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "tests/support/check.h"

#define PATIENCE_NS (20 * NS_PER_S)
#define PATH_BYTES  192

static bool is_wanted(enum freezer_version version, const struct mntent *entry)
{
	if (version == FREEZER_V2)
		return strcmp(entry->mnt_type, "cgroup2") == 0;
	return strcmp(entry->mnt_type, "cgroup") == 0 && hasmntopt(entry, "freezer");
}

static bool find_mount(enum freezer_version version, char *ret_folder, size_t size_bytes)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *entry;
	bool is_found = false;

	CHECK(mounts);
	while (!is_found && (entry = getmntent(mounts))) {
		is_found = is_wanted(version, entry);
		if (is_found)
			(void)snprintf(ret_folder, size_bytes, "%s", entry->mnt_dir);
	}
	(void)endmntent(mounts);
	return is_found;
}

static void file_of(const struct freezer *freezer, const char *name, char ret_path[PATH_BYTES])
{
	(void)snprintf(ret_path, PATH_BYTES, "%s/%s", freezer->folder, name);
}

static void put(const struct freezer *freezer, const char *name, const char *text)
{
	char path[PATH_BYTES];
	int fd;

	file_of(freezer, name, path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	CHECK(close(fd) == 0);
}

static void await(const struct freezer *freezer, const char *name, const char *wanted)
{
	const struct timespec pause = {.tv_nsec = 100000};
	const uint64_t start_ns = clock_ns();
	char path[PATH_BYTES];
	char text[128] = "";

	file_of(freezer, name, path);
	for (;;) {
		CHECK(procfs_read(path, text, sizeof(text)) > 0);
		if (strstr(text, wanted))
			return;
		CHECK(clock_ns() - start_ns < PATIENCE_NS);
		(void)nanosleep(&pause, NULL);
	}
}

bool freezer_open(enum freezer_version version, struct freezer *ret_freezer)
{
	struct freezer freezer = {.version = version};
	char mount[64];
	char path[PATH_BYTES];

	if (!find_mount(version, mount, sizeof(mount)))
		return false;
	(void)snprintf(
		freezer.folder, sizeof(freezer.folder), "%s/vmswap-test-%d", mount, getpid());
	if (mkdir(freezer.folder, 0755) < 0)
		return false;
	file_of(&freezer, version == FREEZER_V2 ? "cgroup.freeze" : "freezer.state", path);
	if (access(path, W_OK) < 0) {
		(void)rmdir(freezer.folder);
		return false;
	}
	*ret_freezer = freezer;
	return true;
}

void freezer_take(const struct freezer *freezer, pid_t pid)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", pid);
	put(freezer, "cgroup.procs", text);
}

void freezer_freeze(const struct freezer *freezer)
{
	if (freezer->version == FREEZER_V2) {
		put(freezer, "cgroup.freeze", "1");
		await(freezer, "cgroup.events", "frozen 1");
	} else {
		put(freezer, "freezer.state", "FROZEN");
		await(freezer, "freezer.state", "FROZEN");
	}
}

void freezer_thaw(const struct freezer *freezer)
{
	if (freezer->version == FREEZER_V2)
		put(freezer, "cgroup.freeze", "0");
	else
		put(freezer, "freezer.state", "THAWED");
}

void freezer_close(struct freezer *freezer)
{
	const struct timespec pause = {.tv_nsec = (long)NS_PER_MS};
	const uint64_t start_ns = clock_ns();

	/* What has been reaped may still be on its way out of the group. */
	while (rmdir(freezer->folder) < 0) {
		CHECK(errno == EBUSY && clock_ns() - start_ns < PATIENCE_NS);
		(void)nanosleep(&pause, NULL);
	}
}
