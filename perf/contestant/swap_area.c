/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/swap_area.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>

#include "perf/contestant/leftover.h"
#include "perf/contestant/program.h"
#include "perf/contestant/text_file.h"
#include "perf/contestant/zram.h"
#include "perf/floor/disk.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define FILE_SUFFIX ".swap"

/* mkswap(8) writes them into the first page; a label has 16 bytes. */
#define LABEL_PREFIX "vmswapb-"
#define LABEL_OFFSET 1052
#define LABEL_BYTES  16

/* An earlier run leaves one area; more is not ours to reason about. */
#define LEFTOVERS_MAX 16

static bool is_octal(const char *text)
{
	return text[0] == '\\' && strspn(text + 1, "01234567") >= 3;
}

/* The next path of /proc/swaps, which writes a space as "\040". */
static bool next_swap(FILE *swaps, char *ret_path)
{
	char line[SWAP_AREA_PATH_BYTES + 128];
	char *from = line;
	char *to = ret_path;

	do {
		if (!fgets(line, sizeof(line), swaps))
			return false;
	} while (line[0] != '/');
	while (*from > ' ' && to < ret_path + SWAP_AREA_PATH_BYTES - 1) {
		if (is_octal(from)) {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
				       (from[3] - '0'));
			from += strlen("\\040");
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
	return true;
}

static bool is_labelled_leftover(const char *path)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	char label[LABEL_BYTES + 1] = "";

	if (fd < 0 || pread(fd, label, LABEL_BYTES, LABEL_OFFSET) != LABEL_BYTES)
		return false;
	return leftover_is(label, LABEL_PREFIX);
}

/* What cannot be removed shows later: the host swaps, or there is no room. */
static void remove_leftover(const char *path, bool is_on)
{
	struct swap_area area = {.is_on = is_on};

	if (strncmp(path, ZRAM_PATH_PREFIX, strlen(ZRAM_PATH_PREFIX)) == 0) {
		area.kind = SWAP_AREA_ZRAM;
		area.zram = (uint32_t)strtoul(path + strlen(ZRAM_PATH_PREFIX), NULL, 10);
	}
	(void)snprintf(area.path, sizeof(area.path), "%s", path);
	(void)swap_area_remove(&area);
}

static bool find_swap(bool is_any, char *ret_path)
{
	CLEANUP_FILE FILE *swaps = fopen("/proc/swaps", "re");

	while (swaps && next_swap(swaps, ret_path))
		if (is_any || is_labelled_leftover(ret_path))
			return true;
	return false;
}

static void remove_zram_leftovers(void)
{
	glob_t found;

	if (glob(ZRAM_PATH_PREFIX "*", GLOB_NOSORT, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		if (is_labelled_leftover(found.gl_pathv[i]))
			remove_leftover(found.gl_pathv[i], false);
	globfree(&found);
}

static void remove_file_leftovers(const char *directory)
{
	char pattern[SWAP_AREA_PATH_BYTES];
	glob_t found;

	(void)snprintf(pattern, sizeof(pattern), "%s/" LEFTOVER_PREFIX "*" FILE_SUFFIX, directory);
	if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		if (leftover_is(strrchr(found.gl_pathv[i], '/') + 1, LEFTOVER_PREFIX))
			remove_leftover(found.gl_pathv[i], false);
	globfree(&found);
}

static void remove_leftovers(const char *directory)
{
	char path[SWAP_AREA_PATH_BYTES];

	for (int i = 0; i < LEFTOVERS_MAX && find_swap(false, path); i++)
		remove_leftover(path, true);
	remove_zram_leftovers();
	if (directory)
		remove_file_leftovers(directory);
}

static int check_host(struct contestant *self)
{
	char path[SWAP_AREA_PATH_BYTES];
	char zswap[8] = "N";

	if (find_swap(true, path))
		return contestant_fail(self, -EBUSY,
			"the host swaps to %s already, where pages would go as well: swapoff",
			path);
	(void)text_file_read("/sys/module/zswap/parameters/enabled", zswap, sizeof(zswap));
	if (zswap[0] == 'Y')
		return contestant_fail(self, -EBUSY,
			"zswap is on, and would keep the pages in RAM: "
			"echo N > /sys/module/zswap/parameters/enabled");
	return 0;
}

static int make_file(struct contestant *self, uint64_t size_bytes, struct swap_area *area)
{
	const char *directory = self->setup.directory;
	CLEANUP_FD int fd = -1;
	int length;
	int error;

	if (!directory)
		return contestant_fail(self, -EINVAL, "a swap file needs a directory");
	length = snprintf(area->path, sizeof(area->path), "%s/" LEFTOVER_PREFIX "%d" FILE_SUFFIX,
		directory, (int)getpid());
	if ((size_t)length >= sizeof(area->path)) {
		area->path[0] = '\0';
		return contestant_fail(self, -ENAMETOOLONG, "the path of %s is long", directory);
	}
	fd = errno_of(open(
		area->path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC | O_NOFOLLOW, 0600));
	error = fd < 0 ? fd : floor_disk_fill(fd, size_bytes);
	if (error < 0)
		return contestant_fail(self, error, "no swap file of %llu MiB in %s: %s",
			(unsigned long long)(size_bytes / MIB), directory, strerror(-error));
	return 0;
}

static int make_zram(struct contestant *self, uint64_t size_bytes, struct swap_area *area)
{
	const int error = zram_make("lz4", size_bytes, &area->zram);

	if (error == -ENODEV)
		return contestant_fail(self, error, "this kernel has no zram, nor a module of it");
	if (error == -EINVAL)
		return contestant_fail(self, error, "zram of this kernel has no lz4");
	if (error < 0)
		return contestant_fail(self, error, "no zram device: %s", strerror(-error));
	(void)snprintf(area->path, sizeof(area->path), ZRAM_PATH_PREFIX "%u", area->zram);
	return 0;
}

static int switch_on(struct contestant *self, struct swap_area *area)
{
	char label[LABEL_BYTES + 1];
	const char *const mkswap[] = {"mkswap", "-L", label, area->path, NULL};
	int error;

	(void)snprintf(label, sizeof(label), LABEL_PREFIX "%d", (int)getpid());
	error = program_run(mkswap);
	if (error < 0)
		return contestant_fail(self, error, "mkswap %s: %s", area->path,
			error == -ENOENT ? "there is no mkswap" : "failed");
	error = errno_of(swapon(area->path, 0));
	if (error < 0)
		return contestant_fail(self, error, "swapon %s: %s%s", area->path, strerror(-error),
			error == -EINVAL ? " (can this file system hold swap files?)" : "");
	area->is_on = true;
	return 0;
}

int swap_area_make(struct contestant *self, enum swap_area_kind kind, uint64_t size_bytes,
	struct swap_area *area)
{
	int error;

	ASSERT(size_bytes % CHUNK_BYTES == 0);
	*area = (struct swap_area){.kind = kind};
	remove_leftovers(self->setup.directory);
	error = check_host(self);
	if (error == 0)
		error = kind == SWAP_AREA_FILE ? make_file(self, size_bytes, area)
					       : make_zram(self, size_bytes, area);
	return error < 0 ? error : switch_on(self, area);
}

int swap_area_remove(struct swap_area *area)
{
	int error;

	if (area->path[0] == '\0')
		return 0;
	if (area->is_on && swapoff(area->path) < 0)
		return -errno;
	area->is_on = false;
	error = area->kind == SWAP_AREA_ZRAM ? zram_remove(area->zram)
					     : errno_of(unlink(area->path));
	if (error < 0 && error != -ENOENT)
		return error;
	area->path[0] = '\0';
	return 0;
}
