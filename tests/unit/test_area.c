/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/area.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "ctl/maps.h"
#include "ctl/problem.h"
#include "engine/process_spec.h"
#include "queue/base/bits.h"

#define FILE_A 100
#define FILE_B 200

static struct mapping map(uint64_t address, uint64_t size, uint64_t offset, ino_t inode)
{
	return (struct mapping){.start = address,
		.end = address + size,
		.file_offset = offset,
		.device = 1,
		.inode = inode};
}

static int collect(struct mapping_list *const *lists, uint32_t count, struct area_list *ret_areas)
{
	return area_collect((const struct mapping_list *const *)lists, count, ret_areas, NULL);
}

Test(area, one_mapping_is_one_area)
{
	struct mapping items[] = {map(0x10000000, GIB, 0, FILE_A)};
	struct mapping_list list = {.item = items, .count = 1};
	struct area_list areas;

	int rc = collect((struct mapping_list *[]){&list}, 1, &areas);

	cr_assert_eq(rc, 0);
	cr_assert_eq(areas.count, 1);
	cr_expect_eq(areas.item[0].size_bytes, GIB);
	cr_expect_eq(areas.item[0].inode, FILE_A);
}

Test(area, a_second_process_cuts_where_its_mappings_end)
{
	struct mapping vmm[] = {map(0x100000000, 2 * GIB, 0, FILE_A)};
	struct mapping backend[] = {
		map(0x700000000, GIB, 0, FILE_A), map(0x900000000, GIB / 2, 3 * GIB / 2, FILE_A)};
	struct mapping_list vmm_list = {.item = vmm, .count = 1};
	struct mapping_list backend_list = {.item = backend, .count = 2};
	struct area_list areas;
	uint64_t address = 1;

	int rc = collect((struct mapping_list *[]){&vmm_list, &backend_list}, 2, &areas);

	cr_assert_eq(rc, 0);
	cr_assert_eq(areas.count, 3);
	cr_expect_eq(areas.item[1].file_offset, GIB);
	cr_expect_eq(areas.item[1].size_bytes, GIB / 2);
	cr_assert_eq(area_address(&vmm_list, &areas.item[1], &address), 0);
	cr_expect_eq(address, 0x100000000 + GIB);
	cr_assert_eq(area_address(&backend_list, &areas.item[1], &address), 0);
	cr_expect_eq(address, 0, "not mapped there");
	cr_assert_eq(area_address(&backend_list, &areas.item[2], &address), 0);
	cr_expect_eq(address, 0x900000000);
}

Test(area, what_nobody_maps_is_no_area)
{
	struct mapping items[] = {
		map(0x10000000, GIB, 0, FILE_A), map(0x80000000, GIB, 4 * GIB, FILE_A)};
	struct mapping_list list = {.item = items, .count = 2};
	struct area_list areas;

	int rc = collect((struct mapping_list *[]){&list}, 1, &areas);

	cr_assert_eq(rc, 0);
	cr_assert_eq(areas.count, 2);
	cr_expect_eq(areas.item[1].file_offset, 4 * GIB);
}

Test(area, files_are_kept_apart)
{
	struct mapping items[] = {map(0x10000000, GIB, 0, FILE_A), map(0x80000000, GIB, 0, FILE_B)};
	struct mapping_list list = {.item = items, .count = 2};
	struct area_list areas;

	int rc = collect((struct mapping_list *[]){&list}, 1, &areas);

	cr_assert_eq(rc, 0);
	cr_assert_eq(areas.count, 2);
	cr_expect_neq(areas.item[0].inode, areas.item[1].inode);
}

Test(area, memory_mapped_twice_in_one_process_is_told)
{
	struct mapping items[] = {map(0x10000000, GIB, 0, FILE_A), map(0x80000000, GIB, 0, FILE_A)};
	struct mapping_list list = {.item = items, .count = 2};
	struct area area = {1, FILE_A, 0, GIB};
	uint64_t address = 7;

	int rc = area_address(&list, &area, &address);

	cr_expect_eq(rc, -EEXIST);
	cr_expect_eq(address, 7);
}

Test(area, an_area_of_which_a_part_is_mapped_is_told)
{
	struct mapping items[] = {map(0x10000000, GIB / 2, 0, FILE_A)};
	struct mapping_list list = {.item = items, .count = 1};
	struct area area = {1, FILE_A, 0, GIB};
	uint64_t address;

	int rc = area_address(&list, &area, &address);

	cr_expect_eq(rc, -EINVAL);
}

Test(area, more_areas_than_the_engine_has_regions_are_refused)
{
	struct mapping items[REGIONS_MAX + 1];
	struct mapping_list list = {.item = items, .count = REGIONS_MAX + 1};
	struct problem problem = {.error = 0};
	struct area_list areas;
	const struct mapping_list *lists[] = {&list};

	for (uint32_t i = 0; i <= REGIONS_MAX; i++)
		items[i] = map(0x10000000 + i * 4 * MIB, MIB, i * 2 * MIB, FILE_A);
	int rc = area_collect(lists, 1, &areas, &problem);

	cr_expect_eq(rc, -E2BIG);
	cr_expect_str_eq(problem.reason, "too-many-regions");
}

Test(area, the_filter_keeps_mappings_of_the_files_only)
{
	struct mapping items[] = {map(0x10000000, MIB, 0, FILE_B), map(0x80000000, MIB, 0, FILE_A),
		map(0x90000000, MIB, 0, FILE_B)};
	struct mapping_list list = {.item = items, .count = 3};
	struct area_list areas = {.item = {{1, FILE_A, 0, GIB}}, .count = 1};

	uint32_t kept = area_filter(&areas, &list);

	cr_assert_eq(kept, 1);
	cr_expect_eq(list.count, 1);
	cr_expect_eq(items[0].inode, FILE_A);
}

Test(area, mappings_merge_only_when_addresses_and_offsets_continue)
{
	struct mapping first = map(0x10000000, MIB, 0, FILE_A);
	struct mapping gap = map(0x10000000 + 2 * MIB, MIB, MIB, FILE_A);
	struct mapping elsewhere = map(0x10000000 + MIB, MIB, 2 * MIB, FILE_A);
	struct mapping next = map(0x10000000 + MIB, MIB, MIB, FILE_A);

	cr_expect(!area_merge(&first, &gap));
	cr_expect(!area_merge(&first, &elsewhere));
	cr_expect(area_merge(&first, &next));
	cr_expect_eq(first.end, 0x10000000 + 2 * MIB);
}

static const struct area_list two_areas = {
	.count = 2,
	.item = {{.device = 1, .inode = FILE_A, .file_offset = 0, .size_bytes = 4 * MIB},
		{.device = 1, .inode = FILE_A, .file_offset = 4 * MIB, .size_bytes = 4 * MIB}},
};

#define PLACE	  0x10000000u
#define ELSEWHERE 0x70000000u

static const uint64_t places[] = {PLACE, PLACE + 4 * MIB};

static void expect_run(const struct process_run *run, const struct process_run *expected)
{
	cr_expect_eq(run->region, expected->region);
	cr_expect_eq(run->offset, expected->offset);
	cr_expect_eq(run->address, expected->address);
	cr_expect_eq(run->size_bytes, expected->size_bytes);
}

Test(area, what_is_left_of_unmapped_memory_is_found)
{
	struct mapping items[] = {
		map(PLACE, MIB, 0, FILE_A), map(PLACE + 3 * MIB, 3 * MIB, 3 * MIB, FILE_A)};
	const struct mapping_list list = {.item = items, .count = 2};
	struct process_run runs[8];

	cr_assert_eq(area_runs(&list, &two_areas, places, runs, 8), 3);
	expect_run(&runs[0], &(struct process_run){0, 0, PLACE, MIB});
	expect_run(&runs[1], &(struct process_run){0, 3 * MIB, PLACE + 3 * MIB, MIB});
	expect_run(&runs[2], &(struct process_run){1, 0, PLACE + 4 * MIB, 2 * MIB});
}

Test(area, moved_memory_is_found_where_it_is)
{
	struct mapping items[] = {map(ELSEWHERE, 8 * MIB, 0, FILE_A)};
	const struct mapping_list list = {.item = items, .count = 1};
	struct process_run runs[8];

	cr_assert_eq(area_runs(&list, &two_areas, places, runs, 8), 2);
	expect_run(&runs[1], &(struct process_run){1, 0, ELSEWHERE + 4 * MIB, 4 * MIB});
}

Test(area, another_file_at_the_same_place_is_not_taken_for_memory)
{
	struct mapping items[] = {map(PLACE, 8 * MIB, 0, FILE_B)};
	const struct mapping_list list = {.item = items, .count = 1};
	struct process_run runs[8];

	cr_expect_eq(area_runs(&list, &two_areas, places, runs, 8), 0);
}

Test(area, of_memory_that_is_mapped_twice_the_place_of_before_counts)
{
	struct mapping items[] = {
		map(ELSEWHERE, 8 * MIB, 0, FILE_A), map(PLACE, 4 * MIB, 0, FILE_A)};
	const struct mapping_list list = {.item = items, .count = 2};
	struct process_run runs[8];

	cr_assert_eq(area_runs(&list, &two_areas, places, runs, 8), 2);
	expect_run(&runs[0], &(struct process_run){0, 0, PLACE, 4 * MIB});
	expect_run(&runs[1], &(struct process_run){1, 0, ELSEWHERE + 4 * MIB, 4 * MIB});
}

Test(area, more_runs_than_there_is_room_for_are_told)
{
	struct mapping items[] = {
		map(PLACE, MIB, 0, FILE_A), map(PLACE + 3 * MIB, MIB, 3 * MIB, FILE_A)};
	const struct mapping_list list = {.item = items, .count = 2};
	struct process_run runs[1];

	cr_expect_eq(area_runs(&list, &two_areas, places, runs, 1), -E2BIG);
}
