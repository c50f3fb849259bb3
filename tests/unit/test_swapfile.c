/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io/swapfile.h"
#include "queue/base/bits.h"

static char directory[32];
static char path[64];

static void make_directory(void)
{
	strcpy(directory, "/var/tmp/vmswap-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/store", directory);
}

static void remove_directory(void)
{
	(void)unlink(path);
	cr_assert_eq(rmdir(directory), 0, "something was left in the directory");
}

TestSuite(swapfile, .init = make_directory, .fini = remove_directory);

static struct swapfile open_store(enum swapfile_kind kind, const char *name, uint64_t limit_bytes)
{
	const struct swapfile_config config = {
		.kind = kind,
		.path = name,
		.limit_bytes = limit_bytes,
	};
	struct swapfile store;
	const int result = swapfile_open(&config, &store);

	cr_assert_eq(result, 0, "swapfile_open: %d", result);
	return store;
}

static int try_open(enum swapfile_kind kind, const char *name, uint64_t limit_bytes)
{
	const struct swapfile_config config = {
		.kind = kind,
		.path = name,
		.limit_bytes = limit_bytes,
	};
	struct swapfile store = {.fd = -1};
	const int result = swapfile_open(&config, &store);

	if (result == 0)
		swapfile_close(&store);
	return result;
}

static struct stat status_of(int fd)
{
	struct stat status;

	cr_assert_eq(fstat(fd, &status), 0);
	return status;
}

static int entries_in(const char *name)
{
	DIR *stream = opendir(name);
	int count = 0;

	cr_assert_not_null(stream);
	while (readdir(stream))
		count++;
	closedir(stream);
	return count - 2;
}

Test(swapfile, an_unnamed_store_is_sparse_private_direct_and_invisible)
{
	struct swapfile store = open_store(SWAPFILE_UNNAMED, directory, 10 * GIB);

	const struct stat status = status_of(store.fd);

	cr_assert_eq(store.size_bytes, 10 * GIB);
	cr_assert_eq(status.st_size, (off_t)(10 * GIB));
	cr_assert_eq(status.st_blocks, 0);
	cr_assert_eq(status.st_nlink, 0);
	cr_assert_eq(status.st_mode & 0777, 0600);
	cr_assert(fcntl(store.fd, F_GETFL) & O_DIRECT);
	cr_assert(fcntl(store.fd, F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(entries_in(directory), 0);
	swapfile_close(&store);
}

Test(swapfile, the_limit_is_rounded_down_to_whole_chunks)
{
	struct swapfile store =
		open_store(SWAPFILE_UNNAMED, directory, 3 * CHUNK_BYTES + CHUNK_BYTES - 1);

	cr_assert_eq(store.size_bytes, 3 * CHUNK_BYTES);
	swapfile_close(&store);
}

Test(swapfile, without_a_limit_it_is_what_the_file_system_has_free)
{
	struct statvfs space;
	struct swapfile store = open_store(SWAPFILE_UNNAMED, directory, 0);

	cr_assert_eq(statvfs(directory, &space), 0);
	const uint64_t free_bytes = (uint64_t)space.f_bavail * space.f_frsize;

	/* Others write to this file system too: within a twentieth. */
	cr_assert_gt(store.size_bytes, free_bytes - free_bytes / 20);
	cr_assert_lt(store.size_bytes, free_bytes + free_bytes / 20);
	cr_assert_eq(store.size_bytes % CHUNK_BYTES, 0);
	swapfile_close(&store);
}

Test(swapfile, a_limit_below_a_chunk_is_invalid)
{
	cr_assert_eq(try_open(SWAPFILE_UNNAMED, directory, CHUNK_BYTES - 1), -EINVAL);
}

Test(swapfile, a_directory_that_is_not_there_is_an_error)
{
	cr_assert_eq(try_open(SWAPFILE_UNNAMED, "/var/tmp/vmswap-nowhere", MIB), -ENOENT);
}

Test(swapfile, a_second_daemon_finds_a_named_store_busy_until_the_first_closes_it)
{
	struct swapfile store = open_store(SWAPFILE_NAMED, path, 4 * MIB);

	const int second = try_open(SWAPFILE_NAMED, path, 4 * MIB);
	swapfile_close(&store);
	const int third = try_open(SWAPFILE_NAMED, path, 4 * MIB);

	cr_assert_eq(second, -EBUSY);
	cr_assert_eq(third, 0);
}

Test(swapfile, a_named_store_becomes_private_even_when_it_was_not)
{
	const int loose = open(path, O_RDWR | O_CREAT, 0644);
	struct swapfile store = open_store(SWAPFILE_NAMED, path, 4 * MIB);

	cr_assert_geq(loose, 0);
	cr_assert_eq(status_of(store.fd).st_mode & 0777, 0600);
	close(loose);
	swapfile_close(&store);
}

Test(swapfile, a_named_store_keeps_content_and_length_when_opened_smaller)
{
	static uint8_t page[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	struct swapfile store = open_store(SWAPFILE_NAMED, path, 8 * MIB);

	page[0] = 0xa5;
	cr_assert_eq(pwrite(store.fd, page, sizeof(page), 6 * MIB), (ssize_t)sizeof(page));
	swapfile_close(&store);
	store = open_store(SWAPFILE_NAMED, path, 4 * MIB);
	page[0] = 0;
	cr_assert_eq(pread(store.fd, page, sizeof(page), 6 * MIB), (ssize_t)sizeof(page));

	cr_assert_eq(store.size_bytes, 4 * MIB);
	cr_assert_eq(page[0], 0xa5);
	swapfile_close(&store);
}

Test(swapfile, a_symbolic_link_is_not_followed)
{
	cr_assert_eq(symlink("/var/tmp/vmswap-elsewhere", path), 0);

	cr_assert_eq(try_open(SWAPFILE_NAMED, path, 4 * MIB), -ELOOP);
	cr_assert_neq(access("/var/tmp/vmswap-elsewhere", F_OK), 0);
}

Test(swapfile, a_fifo_or_a_file_is_neither_a_named_store_nor_a_device)
{
	cr_assert_eq(mkfifo(path, 0600), 0);

	cr_assert_lt(try_open(SWAPFILE_NAMED, path, 4 * MIB), 0);
	cr_assert_eq(try_open(SWAPFILE_DEVICE, path, 4 * MIB), -ENOTBLK);
}

/* A loop device over the store's path, or -1 where the host gives none. */
static int attach_loop(char *ret_device, size_t size, uint64_t bytes)
{
	const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	const int backing = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	const int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	int device = -1;

	if (number >= 0 && backing >= 0 && ftruncate(backing, (off_t)bytes) == 0) {
		(void)snprintf(ret_device, size, "/dev/loop%d", number);
		device = open(ret_device, O_RDWR | O_CLOEXEC);
	}
	if (device >= 0 && ioctl(device, LOOP_SET_FD, backing) < 0) {
		close(device);
		device = -1;
	}
	if (control >= 0)
		close(control);
	if (backing >= 0)
		close(backing);
	return device;
}

Test(swapfile, a_device_is_opened_once_and_its_size_is_the_limit)
{
	char device[32];
	const int loop = attach_loop(device, sizeof(device), 5 * MIB);

	if (loop < 0)
		cr_skip_test("no loop device");
	struct swapfile store = open_store(SWAPFILE_DEVICE, device, 64 * MIB);
	const int second = try_open(SWAPFILE_DEVICE, device, 0);

	cr_assert_eq(store.size_bytes, 4 * MIB);
	cr_assert_eq(second, -EBUSY);
	swapfile_close(&store);
	cr_assert_eq(ioctl(loop, LOOP_CLR_FD), 0);
	close(loop);
}

Test(swapfile, a_preallocated_store_has_all_its_blocks)
{
	const struct swapfile_config config = {
		.kind = SWAPFILE_UNNAMED,
		.path = directory,
		.limit_bytes = 2 * CHUNK_BYTES,
		.is_preallocated = true,
	};
	struct swapfile store;
	struct stat status;

	cr_assert_eq(swapfile_open(&config, &store), 0);

	cr_assert(store.is_preallocated);
	cr_assert_eq(fstat(store.fd, &status), 0);
	cr_assert_geq((uint64_t)status.st_blocks * 512, 2 * CHUNK_BYTES);
	swapfile_close(&store);
}
