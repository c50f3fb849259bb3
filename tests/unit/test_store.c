/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/supervisor/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct store store;

static int open_null(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void add(const char *name, const int *fds, uint32_t count)
{
	cr_assert_eq(store_add(&store, name, 0, count, fds, count), 1);
}

Test(store, an_entry_counts_once_all_of_it_is_there)
{
	int fds[3] = {open_null(), open_null(), open_null()};

	cr_expect_eq(store_add(&store, "a", 0, 3, fds, 2), 0);
	cr_expect_eq(store_count(&store), 0);
	cr_expect_null(store_find(&store, "a"));
	cr_expect_eq(store_add(&store, "a", 2, 3, fds + 2, 1), 1);

	const struct store_entry *entry = store_find(&store, "a");
	cr_assert_not_null(entry);
	cr_expect_eq(entry->total, 3);
	cr_expect_eq(memcmp(store.fds + entry->first, fds, sizeof(fds)), 0);
}

Test(store, what_stays_incomplete_is_closed)
{
	int fds[2] = {open_null(), open_null()};

	cr_expect_eq(store_add(&store, "a", 0, 2, fds, 1), 0);
	cr_expect_eq(store_add(&store, "b", 0, 1, fds + 1, 1), 1);

	cr_expect(!is_open(fds[0]));
	cr_expect(is_open(fds[1]));
	cr_expect_eq(store_count(&store), 1);
}

Test(store, names_below_another_are_found)
{
	int fds[4] = {open_null(), open_null(), open_null(), open_null()};

	add("vm-1", fds, 1);
	add("vm-10/0", fds + 1, 1);
	cr_expect_null(store_find_below(&store, "vm-1"));
	add("vm-1/0", fds + 2, 1);
	add("vm-1/1", fds + 3, 1);

	const struct store_entry *entry = store_find_below(&store, "vm-1");
	cr_assert_not_null(entry);
	cr_expect_str_eq(entry->name, "vm-1/0");
	store_remove(&store, entry);
	cr_expect_str_eq(store_find_below(&store, "vm-1")->name, "vm-1/1");
	cr_expect_null(store_find_below(&store, "vm-1/1"));
}

Test(store, parts_that_are_not_due_are_refused)
{
	int fds[3] = {open_null(), open_null(), open_null()};

	cr_expect_eq(store_add(&store, "a", 1, 3, fds, 1), -EINVAL);
	cr_expect_eq(store_add(&store, "a", 0, 3, fds, 1), 0);
	cr_expect_eq(store_add(&store, "a", 2, 3, fds + 1, 1), -EINVAL);
	cr_expect_eq(store_add(&store, "a", 1, 4, fds + 1, 1), -EINVAL);
	cr_expect_eq(store_add(&store, "b", 1, 3, fds + 1, 1), -EINVAL);
	cr_expect(is_open(fds[1]), "what is refused stays the caller's");
}

Test(store, nonsense_is_refused)
{
	char name[HANDOVER_NAME_BYTES + 1];
	int fds[2] = {open_null(), open_null()};

	memset(name, 'x', sizeof(name));
	name[HANDOVER_NAME_BYTES] = '\0';
	cr_expect_eq(store_add(&store, "", 0, 1, fds, 1), -EINVAL);
	cr_expect_eq(store_add(&store, name, 0, 1, fds, 1), -EINVAL);
	cr_expect_eq(store_add(&store, "a", 0, 0, fds, 0), -EINVAL);
	cr_expect_eq(store_add(&store, "a", 0, 1, fds, 2), -EINVAL);
	cr_expect_eq(store_add(&store, "a", UINT32_MAX, 1, fds, 2), -EINVAL);
	cr_expect_eq(store.entry_count, 0);
}

Test(store, what_would_not_fit_is_refused_at_its_first_part)
{
	int fds[2] = {open_null(), open_null()};

	add("a", fds, 1);
	cr_expect_eq(store_add(&store, "b", 0, STORE_FDS_MAX, fds + 1, 1), -ENOSPC);
	cr_expect_eq(store_add(&store, "b", 0, STORE_FDS_MAX - 1, fds + 1, 1), 0);
}

Test(store, entries_are_bounded)
{
	char name[16];

	for (uint32_t i = 0; i < STORE_ENTRIES_MAX; i++) {
		int none = -1;

		(void)snprintf(name, sizeof(name), "%u", i);
		add(name, &none, 1);
	}
	cr_expect_eq(store_add(&store, "one more", 0, 1, &(int){-1}, 1), -ENOSPC);
}

Test(store, the_others_move_up_when_one_is_removed)
{
	int fds[4] = {open_null(), open_null(), open_null(), open_null()};

	add("a", fds, 1);
	add("b", fds + 1, 2);
	add("c", fds + 3, 1);

	store_remove(&store, store_find(&store, "b"));

	cr_expect(!is_open(fds[1]) && !is_open(fds[2]));
	cr_expect_eq(store_count(&store), 2);
	cr_expect_eq(store.fds[store_find(&store, "a")->first], fds[0]);
	cr_expect_eq(store.fds[store_find(&store, "c")->first], fds[3]);
}

Test(store, the_daemons_own_are_not_counted_as_guests)
{
	add("daemon.listener", &(int){open_null()}, 1);
	cr_expect_eq(store_count_of_guests(&store), 0);
	add("vm.a", &(int){open_null()}, 1);
	cr_expect_eq(store_count_of_guests(&store), 1);
}
