/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/procfs.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define STAT_BYTES   1024
#define STATUS_BYTES 8192

/* Fields of stat, as proc(5) counts them. */
#define STAT_STATE	3u
#define STAT_FLAGS	9u
#define STAT_START_TIME 22u

/* A task that has gone is ENOENT at open(2) and ESRCH at read(2). */
static int gone(int error)
{
	return error == -ENOENT ? -ESRCH : error;
}

ssize_t procfs_read(const char *path, char *ret_text, size_t size_bytes)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;

	ASSERT(size_bytes > 1);
	if (fd < 0)
		return gone(-errno);
	while (used < size_bytes - 1) {
		ssize_t got = read(fd, ret_text + used, size_bytes - 1 - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return gone(-errno);
		if (got == 0)
			break;
		used += (size_t)got;
	}
	ret_text[used] = '\0';
	return (ssize_t)used;
}

int procfs_open_text(const char *path, FILE **ret_file)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	FILE *file;

	if (fd < 0)
		return gone(-errno);
	file = fdopen(fd, "r");
	if (!file)
		return -errno;
	(void)take_fd(&fd);
	*ret_file = file;
	return 0;
}

static void make_path(char path[PROCFS_PATH_BYTES], pid_t pid, pid_t tid, const char *name)
{
	ASSERT(pid > 0);
	if (tid > 0)
		(void)snprintf(path, PROCFS_PATH_BYTES, "/proc/%d/task/%d/%s", pid, tid, name);
	else
		(void)snprintf(path, PROCFS_PATH_BYTES, "/proc/%d/%s", pid, name);
}

bool procfs_take_number(const char **text, int base, char end, uint64_t *ret_number)
{
	char *behind = NULL;
	uint64_t number = strtoull(*text, &behind, base);

	if (behind == *text || (end && *behind != end))
		return false;
	*text = behind + (end != '\0');
	*ret_number = number;
	return true;
}

/* Field @field of stat, counted from 1; @state is at field 3. 0 when there is none. */
static uint64_t stat_field(const char *state, unsigned int field)
{
	const char *at = state;

	ASSERT(field > STAT_STATE);
	for (unsigned int i = STAT_STATE; at && i < field; i++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	return at ? strtoull(at, NULL, 10) : 0;
}

/* The name may hold anything, blanks and brackets too: what follows its last bracket is fixed. */
static int parse_stat(const char *text, struct procfs_stat *ret_stat)
{
	struct procfs_stat stat = {0};
	const char *open = strchr(text, '(');
	const char *close = strrchr(text, ')');
	size_t size;

	if (!open || !close || close < open || strlen(close) < sizeof(") S "))
		return -EPROTO;
	size = MIN((size_t)(close - open - 1), sizeof(stat.comm) - 1);
	memcpy(stat.comm, open + 1, size);
	stat.state = close[2];
	stat.flags = (uint32_t)stat_field(close + 2, STAT_FLAGS);
	stat.start_time = stat_field(close + 2, STAT_START_TIME);
	*ret_stat = stat;
	return 0;
}

int procfs_stat(pid_t pid, pid_t tid, struct procfs_stat *ret_stat)
{
	char path[PROCFS_PATH_BYTES];
	char text[STAT_BYTES];
	ssize_t size;

	make_path(path, pid, tid, "stat");
	size = procfs_read(path, text, sizeof(text));
	return size < 0 ? (int)size : parse_stat(text, ret_stat);
}

/* The number on the line of status that starts with @key; 0 when there is none. */
static uint64_t field_of(const char *text, const char *key, int base)
{
	const char *line = strstr(text, key);

	ASSERT(key[0] == '\n');
	return line ? strtoull(line + strlen(key), NULL, base) : 0;
}

/* Real, effective and saved; that of the file system follows. */
static bool take_ids(const char *text, const char *key, unsigned int ret_ids[3])
{
	const char *line = strstr(text, key);

	if (!line)
		return false;
	line += strlen(key);
	for (int i = 0; i < 3; i++) {
		uint64_t id;

		if (!procfs_take_number(&line, 10, '\t', &id))
			return false;
		ret_ids[i] = (unsigned int)id;
	}
	return true;
}

static int parse_status(const char *text, struct procfs_status *ret_status)
{
	uid_t uids[3];
	gid_t gids[3];

	if (!take_ids(text, "\nUid:\t", uids) || !take_ids(text, "\nGid:\t", gids))
		return -EPROTO;
	*ret_status = (struct procfs_status){
		.tgid = (pid_t)field_of(text, "\nTgid:", 10),
		.tracer = (pid_t)field_of(text, "\nTracerPid:", 10),
		.parent = (pid_t)field_of(text, "\nPPid:", 10),
		.uid = uids[1],
		.uids = {uids[0], uids[1], uids[2]},
		.gids = {gids[0], gids[1], gids[2]},
		.locked_bytes = field_of(text, "\nVmLck:", 10) * KIB,
		.pinned_bytes = field_of(text, "\nVmPin:", 10) * KIB,
		.capabilities = field_of(text, "\nCapEff:", 16),
		.permitted = field_of(text, "\nCapPrm:", 16),
		.has_memory = strstr(text, "\nVmSize:") != NULL,
		.seccomp = (uint32_t)field_of(text, "\nSeccomp:", 10),
	};
	return 0;
}

int procfs_status(pid_t pid, pid_t tid, struct procfs_status *ret_status)
{
	char path[PROCFS_PATH_BYTES];
	char text[STATUS_BYTES];
	ssize_t size;

	make_path(path, pid, tid, "status");
	size = procfs_read(path, text, sizeof(text));
	return size < 0 ? (int)size : parse_status(text, ret_status);
}

bool procfs_shares_user_ns(pid_t pid)
{
	char path[PROCFS_PATH_BYTES];
	struct stat own;
	struct stat other;

	make_path(path, pid, 0, "ns/user");
	if (stat("/proc/self/ns/user", &own) < 0 || stat(path, &other) < 0)
		return false;
	return own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

int procfs_each(const char *path, procfs_visit *visit, void *context)
{
	CLEANUP_DIR DIR *directory = opendir(path);
	struct dirent *entry;
	int result = 0;

	if (!directory)
		return gone(-errno);
	while (result == 0 && (entry = readdir(directory))) {
		char *end;
		long number = strtol(entry->d_name, &end, 10);

		if (*end == '\0' && end != entry->d_name && number >= 0 && number <= INT_MAX)
			result = visit(context, (int)number);
	}
	return result;
}

int procfs_open_process(pid_t pid, uint64_t start_time)
{
	/* @unfiltered pidfd_open */
	CLEANUP_FD int pidfd = (int)errno_of(syscall(SYS_pidfd_open, pid, 0));
	struct procfs_stat stat;
	int rc;

	if (pidfd < 0)
		return pidfd;
	/* Who lives after the look has held its number since before. */
	rc = procfs_stat(pid, 0, &stat);
	if (rc < 0)
		return rc;
	return stat.start_time == start_time ? take_fd(&pidfd) : -ESRCH;
}
