/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/state_files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "ctl/keyring.h"
#include "ctl/supervisor/state_dir.h"
#include "engine/cipher.h"
#include "io/storename.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define HEADER_FILE   "engine.header"
#define SLOTS_FILE    "engine.slots"
#define STORE_LINK    "engine.store"
#define CHILDREN_FILE "engine.children"
#define NAME_BYTES    32
#define KEY_BYTES     80

/* In the order they are linked; the key is no file. */
static const char *const part_names[VM_PARTS] = {
	[VM_WORDS] = "words",
	[VM_DIGESTS] = "digests",
	[VM_CHUNKS] = "chunks",
	[VM_HEADER] = "header",
};

int state_files_open(const char *path, struct state_files *ret_files)
{
	CLEANUP_FD int folder =
		errno_of(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	struct statfs system;
	struct stat status;

	if (folder < 0)
		return folder;
	if (fstatfs(folder, &system) < 0 || fstat(folder, &status) < 0) /* @unfiltered fstatfs */
		return -errno;
	if (system.f_type != TMPFS_MAGIC)
		return -EMEDIUMTYPE;
	*ret_files = (struct state_files){
		.device = status.st_dev,
		.inode = status.st_ino,
		.folder = take_fd(&folder),
	};
	return 0;
}

int state_files_open_as_worker(const char *path, struct state_files *ret_files)
{
	const int rc = state_files_open(path, ret_files);

	if (rc == 0)
		(void)state_dir_write_pid(path, STATE_DIR_WORKER);
	return rc;
}

void state_files_close(struct state_files *files)
{
	close_fd(take_fd(&files->folder));
}

uint64_t state_files_room(const struct state_files *files)
{
	struct statfs system;

	if (fstatfs(files->folder, &system) < 0) /* @unfiltered fstatfs */
		return 0;
	/* 0 blocks: a tmpfs without a limit */
	return system.f_blocks == 0 ? UINT64_MAX
				    : (uint64_t)system.f_blocks * (uint64_t)system.f_bsize / 2;
}

static void drop(const struct state_files *files, const char *name)
{
	(void)unlinkat(files->folder, name, 0); /* @control unlinkat */
}

/* A name for the nameless file @fd. */
static int keep(const struct state_files *files, const char *name, int fd)
{
	char link[NAME_BYTES];

	drop(files, name);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	/* @control linkat */
	return errno_of(linkat(AT_FDCWD, link, files->folder, name, AT_SYMLINK_FOLLOW));
}

static int find(const struct state_files *files, const char *name)
{
	return errno_of(openat(files->folder, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC));
}

/* The store's path, as it is or as it is now. */
static int name_store(int fd, const struct swapfile_config *store, char *ret_path)
{
	if (store->kind != SWAPFILE_UNNAMED)
		return realpath(store->path, ret_path) ? 0 : -errno;
	return storename_link(fd, store->path, ret_path, PATH_MAX);
}

int state_files_keep_engine(const struct state_files *files, const int parts[ENGINE_PARTS],
	const struct swapfile_config *store)
{
	char path[PATH_MAX];
	int rc;

	if (files->folder < 0)
		return -EMEDIUMTYPE;
	if (flock(parts[ENGINE_HEADER], LOCK_EX | LOCK_NB) < 0) /* @unfiltered flock */
		return -errno;
	rc = name_store(parts[ENGINE_STORE], store, path);
	if (rc < 0)
		return rc;
	drop(files, STORE_LINK);
	rc = errno_of(symlinkat(path, files->folder, STORE_LINK)); /* @unfiltered symlinkat */
	if (rc == 0)
		rc = keep(files, SLOTS_FILE, parts[ENGINE_SLOT_MAP]);
	if (rc == 0)
		rc = keep(files, HEADER_FILE, parts[ENGINE_HEADER]);
	if (rc < 0 && store->kind == SWAPFILE_UNNAMED)
		(void)unlink(path); /* @control unlink */
	if (rc < 0)
		state_files_drop_engine(files);
	return rc;
}

/* Of the form that storename_link() gives: no name that a user chose. */
static void drop_store(const struct state_files *files)
{
	char path[PATH_MAX];

	if (state_files_find_store(files, path, sizeof(path)) == 0 && storename_is_ours(path))
		(void)unlink(path); /* @control unlink */
}

void state_files_drop_engine(const struct state_files *files)
{
	if (files->folder < 0)
		return;
	drop(files, HEADER_FILE);
	drop(files, SLOTS_FILE);
	drop(files, CHILDREN_FILE);
	drop_store(files);
	drop(files, STORE_LINK);
}

int state_files_keep_children(const struct state_files *files, int fd)
{
	return files->folder < 0 ? -EMEDIUMTYPE : keep(files, CHILDREN_FILE, fd);
}

int state_files_find_children(const struct state_files *files)
{
	return files->folder < 0 ? -ENOENT : find(files, CHILDREN_FILE);
}

static void file_name(uint32_t number, const char *part, char ret_name[NAME_BYTES])
{
	(void)snprintf(ret_name, NAME_BYTES, "vm-%u.%s", number, part);
}

static void key_name(const struct state_files *files, uint32_t number, char ret_name[KEY_BYTES])
{
	(void)snprintf(ret_name, KEY_BYTES, "vmswapd:%jx:%jx:vm-%u", (uintmax_t)files->device,
		(uintmax_t)files->inode, number);
}

static int keep_key(const struct state_files *files, uint32_t number, int fd)
{
	uint8_t key[CIPHER_KEY_BYTES];
	char name[KEY_BYTES];
	int rc;

	if (pread(fd, key, sizeof(key), 0) != (ssize_t)sizeof(key))
		return -EIO;
	key_name(files, number, name);
	rc = keyring_keep(name, key, sizeof(key));
	explicit_bzero(key, sizeof(key));
	return rc;
}

static int keep_parts(
	const struct state_files *files, uint32_t number, int ledger, const int *parts)
{
	char name[NAME_BYTES];
	int rc = keep_key(files, number, parts[VM_KEY]);

	for (uint32_t i = 0; rc == 0 && i < VM_PARTS; i++) {
		if (!part_names[i])
			continue;
		file_name(number, part_names[i], name);
		rc = keep(files, name, parts[i]);
	}
	file_name(number, "ledger", name);
	return rc < 0 ? rc : keep(files, name, ledger);
}

int state_files_keep_vm(
	const struct state_files *files, uint32_t number, int ledger, const int parts[VM_PARTS])
{
	int rc;

	if (files->folder < 0)
		return -EMEDIUMTYPE;
	rc = keep_parts(files, number, ledger, parts);
	if (rc < 0)
		state_files_drop_vm(files, number);
	return rc;
}

void state_files_drop_vm(const struct state_files *files, uint32_t number)
{
	char name[NAME_BYTES];
	char key[KEY_BYTES];

	if (files->folder < 0)
		return;
	file_name(number, "ledger", name);
	drop(files, name);
	for (uint32_t i = 0; i < VM_PARTS; i++) {
		if (!part_names[i])
			continue;
		file_name(number, part_names[i], name);
		drop(files, name);
	}
	key_name(files, number, key);
	keyring_forget(key);
}

int state_files_find_header(const struct state_files *files)
{
	return find(files, HEADER_FILE);
}

bool state_files_has_engine(const struct state_files *files)
{
	return faccessat(files->folder, HEADER_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int state_files_find_slots(const struct state_files *files)
{
	return find(files, SLOTS_FILE);
}

int state_files_find_store(const struct state_files *files, char *ret_path, size_t size)
{
	const ssize_t length = readlinkat(files->folder, STORE_LINK, ret_path, size - 1);

	if (length < 0)
		return -errno;
	ret_path[length] = '\0';
	return (size_t)length == size - 1 ? -ENAMETOOLONG : 0;
}

int state_files_find_ledger(const struct state_files *files, uint32_t number)
{
	char name[NAME_BYTES];

	file_name(number, "ledger", name);
	return find(files, name);
}

/* In memory of our own again, as cipher_key_adopt() takes it. */
static int find_key(const struct state_files *files, uint32_t number)
{
	/* @unfiltered memfd_create */
	CLEANUP_FD int fd = errno_of(memfd_create("vmswap-key", MFD_CLOEXEC));
	uint8_t page[PAGE_BYTES] = {0};
	char name[KEY_BYTES];
	int rc;

	if (fd < 0)
		return fd;
	key_name(files, number, name);
	rc = keyring_find(name, page, CIPHER_KEY_BYTES);
	/* @unfiltered pwrite64 */
	if (rc == 0 && pwrite(fd, page, sizeof(page), 0) != (ssize_t)sizeof(page))
		rc = -EIO;
	explicit_bzero(page, sizeof(page));
	return rc < 0 ? rc : take_fd(&fd);
}

int state_files_find_vm(const struct state_files *files, uint32_t number, int ret_parts[VM_PARTS])
{
	int parts[VM_PARTS];
	char name[NAME_BYTES];
	int rc = 0;

	for (uint32_t i = 0; i < VM_PARTS; i++) {
		parts[i] = -1;
		if (rc < 0)
			continue;
		if (part_names[i])
			file_name(number, part_names[i], name);
		parts[i] = part_names[i] ? find(files, name) : find_key(files, number);
		rc = MIN(parts[i], 0);
	}
	if (rc < 0) {
		for (uint32_t i = 0; i < VM_PARTS; i++)
			close_fd(parts[i]);
		return rc;
	}
	memcpy(ret_parts, parts, sizeof(parts));
	return 0;
}
