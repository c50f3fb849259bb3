/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/maps.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "ctl/maps_text.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* The text of smaps, read from memory. */
static FILE *text_of(const char *text)
{
	FILE *file = fmemopen(NULL, strlen(text) + 1, "w+");

	cr_assert(file);
	cr_assert_geq(fputs(text, file), 0);
	rewind(file);
	return file;
}

Test(maps, a_line_of_maps_is_taken_apart)
{
	struct maps_entry entry;

	bool is_entry =
		maps_text_parse("7f1200000000-7f1240000000 rw-s 00200000 00:01 4711"
				"                       /memfd:memory-backend-memfd (deleted)\n",
			&entry);

	cr_assert(is_entry);
	cr_assert_eq(entry.start, 0x7f1200000000);
	cr_assert_eq(entry.end - entry.start, GIB);
	cr_assert_eq(entry.file_offset, 2 * MIB);
	cr_assert_eq(entry.device, makedev(0, 1));
	cr_assert_eq(entry.inode, 4711);
	cr_assert(entry.is_shared);
	cr_assert(entry.is_writable);
	cr_assert_not(entry.is_executable);
	cr_assert_str_eq(entry.name, "/memfd:memory-backend-memfd (deleted)");
}

Test(maps, a_mapping_without_a_name_has_an_empty_one)
{
	struct maps_entry entry;

	bool is_entry =
		maps_text_parse("7ffd6a6a7000-7ffd6a6c8000 rwxp 00000000 00:00 0 \n", &entry);

	cr_assert(is_entry);
	cr_assert_str_eq(entry.name, "");
	cr_assert_not(entry.is_shared);
	cr_assert(entry.is_executable);
}

Test(maps, lines_that_are_no_mapping_are_not_taken_for_one)
{
	static const char *const lines[] = {
		"",
		"\n",
		"Size:               1024 kB\n",
		"Anonymous:             0 kB\n",
		"FilePmdMapped:         0 kB\n",
		"VmFlags: rd wr sh\n",
		"7f1200000000-7f11ffff0000 rw-s 0 00:01 1 /backwards\n",
		"7f1200000000-7f1240000000\n",
		"7f1200000000-7f1240000000 rw 0 00:01 1 /short\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct maps_entry entry;

		cr_assert_not(maps_text_parse(lines[i], &entry), "%s", lines[i]);
	}
}

Test(maps, shared_is_told_without_taking_the_line_apart)
{
	cr_assert(maps_text_says_shared("1000-2000 rw-s 0 00:01 1 /memfd:x\n"));
	cr_assert(maps_text_says_shared("1000-2000 r--s 0 00:01 1 /memfd:x\n"));
	cr_assert_not(maps_text_says_shared("1000-2000 rw-p 0 00:01 1 /memfd:s s\n"));
	cr_assert_not(maps_text_says_shared("1000-2000"));
	cr_assert_not(maps_text_says_shared("1000-2000 rw"));
}

Test(maps, flags_belong_to_the_mapping_before_them)
{
	FILE *file = text_of("1000-2000 rw-s 00000000 00:01 1 /memfd:locked\n"
			     "Size:                  4 kB\n"
			     "VmFlags: rd wr sh mr mw me ms lo sd \n"
			     "2000-3000 rw-s 00000000 00:01 2 /memfd:watched\n"
			     "VmFlags: rd wr sh mr mw me ms um uw sd \n"
			     "3000-4000 rw-s 00000000 00:0f 3 /memfd:huge (deleted)\n"
			     "VmFlags: rd wr sh mr mw me ms de ht sd \n"
			     "4000-5000 rw-s 00000000 00:06 4 /dev/thing\n"
			     "VmFlags: rd wr sh io pf\n"
			     "5000-6000 rw-s 00000000 00:01 5 /memfd:plain\n"
			     "VmFlags: rd wr sh mr mw me ms sd \n");
	struct maps_text text;
	struct maps_entry entry[6];
	uint32_t count = 0;

	maps_text_init(&text, file);
	while (count < ARRAY_SIZE(entry) && maps_text_next(&text, &entry[count]))
		count++;

	cr_assert_eq(count, 5);
	cr_assert(entry[0].is_locked && !entry[0].is_registered);
	cr_assert(entry[1].is_registered && !entry[1].is_locked);
	cr_assert(entry[2].is_hugetlb && !entry[2].is_registered);
	cr_assert(entry[3].is_device && !entry[3].is_hugetlb);
	cr_assert(!entry[4].is_locked && !entry[4].is_registered && !entry[4].is_device);
	(void)fclose(file);
}

Test(maps, each_kind_of_registration_counts)
{
	static const char *const flags[] = {"um", "ui", "uw"};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		char smaps[128];
		struct maps_text text;
		struct maps_entry entry;
		(void)snprintf(smaps, sizeof(smaps),
			"1000-2000 rw-s 0 00:01 1 /memfd:x\nVmFlags: rd %s wr\n", flags[i]);
		FILE *file = text_of(smaps);

		maps_text_init(&text, file);
		bool is_entry = maps_text_next(&text, &entry);

		cr_assert(is_entry);
		cr_assert(entry.is_registered, "%s", flags[i]);
		(void)fclose(file);
	}
}

Test(maps, a_name_longer_than_any_buffer_does_not_hide_the_next_mapping)
{
	char *smaps;
	char *name = calloc(1, 5000);
	struct maps_text text;
	struct maps_entry entry;
	cr_assert(name);
	memset(name, 'a', 4999);
	cr_assert_geq(asprintf(&smaps,
			      "1000-2000 rw-s 0 00:01 1 /%s\n"
			      "2000-3000 rw-s 0 00:01 2 /next\n",
			      name),
		0);
	FILE *file = text_of(smaps);

	maps_text_init(&text, file);
	cr_assert(maps_text_next(&text, &entry));
	cr_assert_eq(entry.inode, 1);
	cr_assert(maps_text_next(&text, &entry));

	cr_assert_eq(entry.inode, 2);
	cr_assert_str_eq(entry.name, "/next");
	cr_assert_not(maps_text_next(&text, &entry));
	(void)fclose(file);
	free(smaps);
	free(name);
}

/* Our own mappings, as /proc/self has them. */
static uint8_t *map_memfd(uint64_t size_bytes, int *ret_memfd)
{
	int memfd = memfd_create("test-maps", MFD_CLOEXEC);
	uint8_t *memory;

	cr_assert_geq(memfd, 0);
	cr_assert_eq(ftruncate(memfd, (off_t)size_bytes), 0);
	memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	cr_assert(memory != MAP_FAILED);
	*ret_memfd = memfd;
	return memory;
}

Test(maps, neighbours_of_one_file_are_one_mapping)
{
	int memfd;
	uint8_t *memory = map_memfd(8 * MIB, &memfd);
	struct mapping_list list;

	/* Splits the mapping in three for the kernel. */
	cr_assert_eq(madvise(memory + 2 * MIB, MIB, MADV_DONTFORK), 0);
	int error = maps_read(getpid(), 8 * MIB, &list);

	cr_assert_eq(error, 0);
	cr_assert_eq(list.count, 1);
	cr_assert_eq(list.item[0].start, (uint64_t)memory);
	cr_assert_eq(list.item[0].end, (uint64_t)memory + 8 * MIB);
	maps_free(&list);
}

Test(maps, neighbours_of_one_file_that_do_not_continue_it_stay_apart)
{
	int memfd;
	uint8_t *memory = map_memfd(8 * MIB, &memfd);
	struct mapping_list list;

	cr_assert(mmap(memory + 4 * MIB, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			  memfd, 0) != MAP_FAILED);
	int error = maps_read(getpid(), 4 * MIB, &list);

	cr_assert_eq(error, 0);
	cr_assert_eq(list.count, 2);
	cr_assert_eq(list.item[1].file_offset, 0);
	cr_assert_eq(list.largest_shared_bytes, 4 * MIB);
	maps_free(&list);
}

Test(maps, what_is_smaller_is_left_out_but_remembered)
{
	int memfd;
	struct mapping_list list;

	(void)map_memfd(8 * MIB, &memfd);
	int error = maps_read(getpid(), 8 * MIB + 1, &list);

	cr_assert_eq(error, 0);
	cr_assert_eq(list.count, 0);
	cr_assert_eq(list.largest_shared_bytes, 8 * MIB);
	maps_free(&list);
}

Test(maps, shared_anonymous_memory_counts_and_private_does_not)
{
	uint8_t *shared =
		mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint8_t *private =
		mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mapping_list list;

	cr_assert(shared != MAP_FAILED && private != MAP_FAILED);
	int error = maps_read(getpid(), 16 * MIB, &list);

	cr_assert_eq(error, 0);
	cr_assert_eq(list.count, 1);
	cr_assert_eq(list.item[0].start, (uint64_t)shared);
	cr_assert_geq(list.largest_private_bytes, 64 * MIB);
	maps_free(&list);
}

Test(maps, a_shared_file_on_disk_does_not_count)
{
	FILE *file = tmpfile();
	struct mapping_list list;

	cr_assert(file);
	cr_assert_eq(ftruncate(fileno(file), 16 * (off_t)MIB), 0);
	cr_assert(mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0) !=
		  MAP_FAILED);
	int error = maps_read(getpid(), 16 * MIB, &list);

	cr_assert_eq(error, 0);
	cr_assert_eq(list.count, 0);
	maps_free(&list);
	(void)fclose(file);
}

Test(maps, a_process_that_is_gone_is_said_to_be)
{
	struct mapping_list list;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);

	cr_assert_eq(maps_read(pid, MIB, &list), -ESRCH);
}

Test(maps, a_line_that_ends_within_a_flag_is_not_read_beyond_its_end)
{
	/* The second line leaves the end of the first behind it, where the third flag would be. */
	FILE *file = text_of("00400000-00401000 rw-s 00000000 00:01 7 /x\n"
			     "VmFlags  :  lo lo\n"
			     "VmFlags: a");
	struct maps_text text;
	struct maps_entry entry;

	maps_text_init(&text, file);

	cr_assert(maps_text_next(&text, &entry));
	cr_expect_not(entry.is_locked);
	(void)fclose(file);
}
