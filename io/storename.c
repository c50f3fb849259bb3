/* SPDX-License-Identifier: Apache-2.0 */
#include "io/storename.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/base/err.h"

#define PREFIX	   ".vmswapd-"
#define BOOT_CHARS 8
#define BOOT_ID	   "/proc/sys/kernel/random/boot_id"

static int read_boot(char ret_boot[BOOT_CHARS + 1])
{
	CLEANUP_FD int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC); /* @unfiltered openat */
	ssize_t size;

	if (fd < 0)
		return -errno;
	size = read(fd, ret_boot, BOOT_CHARS); /* @unfiltered read */
	if (size != BOOT_CHARS)
		return size < 0 ? -errno : -EIO;
	ret_boot[BOOT_CHARS] = '\0';
	return 0;
}

int storename_link(int fd, const char *directory, char *ret_path, size_t size)
{
	char boot[BOOT_CHARS + 1];
	char link[32];
	struct stat status;
	int rc = read_boot(boot);

	if (rc < 0)
		return rc;
	if (fstat(fd, &status) < 0) /* @unfiltered fstat */
		return -errno;
	rc = snprintf(
		ret_path, size, "%s/" PREFIX "%s-%ju", directory, boot, (uintmax_t)status.st_ino);
	if (rc < 0 || (size_t)rc >= size)
		return -ENAMETOOLONG;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	/* @unfiltered linkat */
	return errno_of(linkat(AT_FDCWD, link, AT_FDCWD, ret_path, AT_SYMLINK_FOLLOW));
}

bool storename_is_ours(const char *path)
{
	const char *name = strrchr(path, '/');

	return name && strncmp(name + 1, PREFIX, strlen(PREFIX)) == 0;
}

static bool is_of_another_boot(const char *name, const char *boot)
{
	return strncmp(name, PREFIX, strlen(PREFIX)) == 0 &&
	       strncmp(name + strlen(PREFIX), boot, BOOT_CHARS) != 0;
}

void storename_sweep(const char *directory)
{
	CLEANUP_DIR DIR *folder = opendir(directory); /* @unfiltered openat */
	const struct dirent *entry;
	char boot[BOOT_CHARS + 1];

	if (!folder || read_boot(boot) < 0)
		return;
	while ((entry = readdir(folder)) != NULL) {
		if (is_of_another_boot(entry->d_name, boot))
			(void)unlinkat(dirfd(folder), entry->d_name, 0); /* @unfiltered unlinkat */
	}
}
