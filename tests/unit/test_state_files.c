/* SPDX-License-Identifier: Apache-2.0 */
/* Against the kernel: a folder of /dev/shm, a store beside the test, the user keyring. */
#include "ctl/state_files.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "ctl/keyring.h"
#include "engine/cipher.h"
#include "io/shared.h"
#include "io/storename.h"
#include "queue/base/bits.h"

static char folder[] = "/dev/shm/vmswap-test-XXXXXX";
static char disk[] = "/var/tmp/vmswap-test-XXXXXX";
static struct state_files files = {.folder = -1};

static bool has_tmpfs(void)
{
	struct statfs system;

	return statfs("/dev/shm", &system) == 0 && system.f_type == TMPFS_MAGIC;
}

static void set_up(void)
{
	if (!has_tmpfs())
		cr_skip_test("/dev/shm is no tmpfs");
	cr_assert(mkdtemp(folder));
	cr_assert(mkdtemp(disk));
	cr_assert_eq(state_files_open(folder, &files), 0);
	shared_set_home(files.folder, state_files_room(&files));
}

static void tear_down(void)
{
	if (files.folder < 0)
		return;
	shared_set_home(-1, 0);
	state_files_close(&files);
	cr_expect_eq(rmdir(folder), 0, "something is left in %s", folder);
	cr_expect_eq(rmdir(disk), 0, "something is left in %s", disk);
}

TestSuite(state_files, .init = set_up, .fini = tear_down);

struct engine_tables {
	struct shared slots;
	struct shared header;
	int parts[ENGINE_PARTS];
};

static void make_engine(struct engine_tables *tables)
{
	cr_assert_eq(shared_open("slots", PAGE_BYTES, &tables->slots), 0);
	cr_assert_eq(shared_open("header", PAGE_BYTES, &tables->header), 0);
	tables->parts[ENGINE_STORE] = open(disk, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	cr_assert_geq(tables->parts[ENGINE_STORE], 0);
	tables->parts[ENGINE_SLOT_MAP] = tables->slots.fd;
	tables->parts[ENGINE_HEADER] = tables->header.fd;
}

static void close_engine(struct engine_tables *tables)
{
	shared_close(&tables->slots);
	shared_close(&tables->header);
	(void)close(tables->parts[ENGINE_STORE]);
}

static bool is_same_file(int a, int b)
{
	struct stat one;
	struct stat other;

	return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_ino == other.st_ino &&
	       one.st_dev == other.st_dev;
}

Test(state_files, an_engine_is_found_by_its_names_until_it_is_dropped)
{
	const struct swapfile_config store = {.kind = SWAPFILE_UNNAMED, .path = disk};
	struct engine_tables tables;
	char path[PATH_MAX];
	struct stat status;
	int header;
	int slots;

	make_engine(&tables);
	cr_expect_not(state_files_has_engine(&files));
	cr_assert_eq(state_files_keep_engine(&files, tables.parts, &store), 0);

	header = state_files_find_header(&files);
	slots = state_files_find_slots(&files);
	cr_expect(state_files_has_engine(&files));
	cr_expect(is_same_file(header, tables.header.fd));
	cr_expect(is_same_file(slots, tables.slots.fd));
	cr_expect_lt(flock(header, LOCK_EX | LOCK_NB), 0, "the header is locked");
	cr_assert_eq(state_files_find_store(&files, path, sizeof(path)), 0);
	cr_expect_eq(stat(path, &status), 0);
	cr_expect(storename_is_ours(path));
	cr_expect_eq(status.st_mode & 0777, 0600);

	state_files_drop_engine(&files);
	cr_expect_not(state_files_has_engine(&files));
	cr_expect_lt(stat(path, &status), 0);
	(void)close(header);
	(void)close(slots);
	close_engine(&tables);
}

Test(state_files, a_store_that_the_user_named_stays)
{
	char path[PATH_MAX];
	const struct swapfile_config store = {.kind = SWAPFILE_NAMED, .path = path};
	struct engine_tables tables;
	struct stat status;

	(void)snprintf(path, sizeof(path), "%s/store", disk);
	make_engine(&tables);
	(void)close(tables.parts[ENGINE_STORE]);
	tables.parts[ENGINE_STORE] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(state_files_keep_engine(&files, tables.parts, &store), 0);

	state_files_drop_engine(&files);

	cr_expect_eq(stat(path, &status), 0);
	(void)unlink(path);
	close_engine(&tables);
}

static void make_vm(struct shared shared[VM_PARTS], int parts[VM_PARTS])
{
	for (uint32_t i = 0; i < VM_PARTS; i++) {
		cr_assert_eq(i == VM_KEY ? cipher_key_make(&shared[i])
					 : shared_open("table", PAGE_BYTES, &shared[i]),
			0);
		parts[i] = shared[i].fd;
	}
}

Test(state_files, a_vm_is_found_with_its_key_until_it_is_dropped)
{
	struct shared ledger;
	struct shared shared[VM_PARTS];
	uint8_t key[CIPHER_KEY_BYTES];
	int parts[VM_PARTS];
	int found[VM_PARTS];
	int fd;

	make_vm(shared, parts);
	cr_assert_eq(shared_open("ledger", PAGE_BYTES, &ledger), 0);
	cr_assert_eq(state_files_keep_vm(&files, 3, ledger.fd, parts), 0);

	fd = state_files_find_ledger(&files, 3);
	cr_expect(is_same_file(fd, ledger.fd));
	(void)close(fd);
	cr_assert_eq(state_files_find_vm(&files, 3, found), 0);
	for (uint32_t i = 0; i < VM_PARTS; i++)
		cr_expect_eq(is_same_file(found[i], parts[i]), i != VM_KEY, "part %u", i);
	cr_expect_eq(pread(found[VM_KEY], key, sizeof(key), 0), (ssize_t)sizeof(key));
	cr_expect_eq(memcmp(key, shared[VM_KEY].memory, sizeof(key)), 0);
	for (uint32_t i = 0; i < VM_PARTS; i++)
		(void)close(found[i]);

	state_files_drop_vm(&files, 3);
	cr_expect_eq(state_files_find_ledger(&files, 3), -ENOENT);
	cr_expect_lt(state_files_find_vm(&files, 3, found), 0);
	for (uint32_t i = 0; i < VM_PARTS; i++)
		shared_close(&shared[i]);
	shared_close(&ledger);
}

Test(state_files, a_table_that_lies_elsewhere_keeps_nothing)
{
	struct shared ledger;
	struct shared shared[VM_PARTS];
	int parts[VM_PARTS];

	/* no room for another table */
	shared_set_home(files.folder, (VM_PARTS - 1) * PAGE_BYTES);
	make_vm(shared, parts);
	cr_assert_eq(shared_open("ledger", PAGE_BYTES, &ledger), 0);

	cr_expect_eq(state_files_keep_vm(&files, 0, ledger.fd, parts), -EXDEV);

	cr_expect_eq(state_files_find_ledger(&files, 0), -ENOENT);
	for (uint32_t i = 0; i < VM_PARTS; i++)
		shared_close(&shared[i]);
	shared_close(&ledger);
}

Test(state_files, a_folder_on_a_disk_is_refused)
{
	struct state_files other;

	cr_expect_eq(state_files_open(disk, &other), -EMEDIUMTYPE);
}

Test(state_files, a_key_can_be_replaced_and_forgotten)
{
	char found[4];

	cr_expect_eq(keyring_find("vmswapd-test", found, 4), -ENOKEY);
	cr_assert_eq(keyring_keep("vmswapd-test", "one", 4), 0);
	cr_assert_eq(keyring_keep("vmswapd-test", "two", 4), 0);

	cr_expect_eq(keyring_find("vmswapd-test", found, 4), 0);
	cr_expect_str_eq(found, "two");
	cr_expect_eq(keyring_find("vmswapd-test", found, 3), -EMSGSIZE);

	keyring_forget("vmswapd-test");
	keyring_forget("vmswapd-test");
	cr_expect_eq(keyring_find("vmswapd-test", found, 4), -ENOKEY);
}

Test(state_files, room_that_a_closed_table_had_is_free_again)
{
	struct shared table;
	struct stat here;
	struct stat there;

	shared_set_home(files.folder, PAGE_BYTES);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(shared_open("table", PAGE_BYTES, &table), 0);
		cr_assert_eq(fstat(files.folder, &here), 0);
		cr_assert_eq(fstat(table.fd, &there), 0);
		cr_expect_eq(here.st_dev, there.st_dev, "round %d is elsewhere", i);
		shared_close(&table);
	}
}
