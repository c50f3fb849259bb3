/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every start and end of a mapping is a cut. Between two neighbouring cuts of one file a process
 * maps either everything, at one run of addresses, or nothing; what nobody maps is no area.
 */
#include "ctl/area.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "ctl/maps.h"
#include "ctl/problem.h"
#include "engine/process_spec.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define ANYWHERE UINT64_MAX

struct cut {
	dev_t device;
	ino_t inode;
	uint64_t offset;
};

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_cuts(const void *left, const void *right)
{
	const struct cut *a = left;
	const struct cut *b = right;

	if (a->device != b->device)
		return compare_numbers(a->device, b->device);
	if (a->inode != b->inode)
		return compare_numbers(a->inode, b->inode);
	return compare_numbers(a->offset, b->offset);
}

static uint64_t mapping_end(const struct mapping *mapping)
{
	ASSERT(mapping->end > mapping->start);
	return mapping->file_offset + (mapping->end - mapping->start);
}

static bool is_of_file(const struct mapping *mapping, const struct area *area)
{
	return mapping->device == area->device && mapping->inode == area->inode;
}

static bool overlaps(const struct mapping *mapping, const struct area *area)
{
	return is_of_file(mapping, area) &&
	       mapping->file_offset < area->file_offset + area->size_bytes &&
	       mapping_end(mapping) > area->file_offset;
}

static bool covers(const struct mapping *mapping, const struct area *area)
{
	return is_of_file(mapping, area) && mapping->file_offset <= area->file_offset &&
	       mapping_end(mapping) >= area->file_offset + area->size_bytes;
}

static bool anybody_covers(
	const struct mapping_list *const *lists, uint32_t count, const struct area *area)
{
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t j = 0; j < lists[i]->count; j++) {
			if (covers(&lists[i]->item[j], area))
				return true;
		}
	}
	return false;
}

static size_t gather_cuts(
	const struct mapping_list *const *lists, uint32_t count, struct cut *ret_cuts)
{
	size_t cuts = 0;

	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t j = 0; j < lists[i]->count; j++) {
			const struct mapping *mapping = &lists[i]->item[j];
			struct cut cut = {mapping->device, mapping->inode, mapping->file_offset};

			ret_cuts[cuts++] = cut;
			cut.offset = mapping_end(mapping);
			ret_cuts[cuts++] = cut;
		}
	}
	qsort(ret_cuts, cuts, sizeof(*ret_cuts), compare_cuts);
	return cuts;
}

int area_collect(const struct mapping_list *const *lists, uint32_t count,
	struct area_list *ret_areas, struct problem *problem)
{
	CLEANUP_FREE struct cut *cuts = NULL;
	struct area_list areas = {.count = 0};
	size_t mappings = 0;
	size_t cut_count;

	for (uint32_t i = 0; i < count; i++)
		mappings += lists[i]->count;
	cuts = calloc(2 * mappings + 1, sizeof(*cuts));
	if (!cuts)
		return problem_set(
			problem, -ENOMEM, "no-memory", "no memory for the list of areas");
	cut_count = gather_cuts(lists, count, cuts);
	for (size_t i = 0; i + 1 < cut_count; i++) {
		struct area area = {cuts[i].device, cuts[i].inode, cuts[i].offset,
			cuts[i + 1].offset - cuts[i].offset};

		if (cuts[i].inode != cuts[i + 1].inode || cuts[i].device != cuts[i + 1].device)
			continue;
		if (area.size_bytes == 0 || !anybody_covers(lists, count, &area))
			continue;
		if (areas.count == REGIONS_MAX)
			return problem_set(problem, -E2BIG, "too-many-regions",
				"the processes cut the guest memory into more than %u pieces",
				REGIONS_MAX);
		areas.item[areas.count++] = area;
	}
	*ret_areas = areas;
	return 0;
}

int area_address(const struct mapping_list *list, const struct area *area, uint64_t *ret_address)
{
	uint64_t address = 0;

	for (uint32_t i = 0; i < list->count; i++) {
		const struct mapping *mapping = &list->item[i];

		if (!overlaps(mapping, area))
			continue;
		if (address != 0)
			return -EEXIST;
		if (!covers(mapping, area))
			return -EINVAL;
		address = mapping->start + (area->file_offset - mapping->file_offset);
	}
	*ret_address = address;
	return 0;
}

/* What @mapping, which overlaps it, has of @area. */
static struct process_run run_of(
	const struct mapping *mapping, const struct area *area, uint32_t region)
{
	const uint64_t from = MAX(mapping->file_offset, area->file_offset);
	const uint64_t end = MIN(mapping_end(mapping), area->file_offset + area->size_bytes);

	return (struct process_run){
		.region = region,
		.offset = from - area->file_offset,
		.address = mapping->start + (from - mapping->file_offset),
		.size_bytes = end - from,
	};
}

static bool has_any(const struct process_run *runs, uint32_t count, const struct process_run *of)
{
	for (uint32_t i = 0; i < count; i++)
		if (runs[i].region == of->region && runs[i].offset < of->offset + of->size_bytes &&
			of->offset < runs[i].offset + runs[i].size_bytes)
			return true;
	return false;
}

/* Runs that grow. */
struct runs {
	struct process_run *run;
	uint32_t count;
	uint32_t max;
};

/* Of @area, number @region: what lies as if it began at @address, or ANYWHERE. -E2BIG. */
static int add_runs(struct runs *runs, const struct mapping_list *list, const struct area *area,
	uint32_t region, uint64_t address)
{
	for (uint32_t i = 0; i < list->count; i++) {
		struct process_run run;

		if (!overlaps(&list->item[i], area))
			continue;
		run = run_of(&list->item[i], area, region);
		if (address != ANYWHERE && run.address != address + run.offset)
			continue;
		if (has_any(runs->run, runs->count, &run))
			continue;
		if (runs->count == runs->max)
			return -E2BIG;
		runs->run[runs->count++] = run;
	}
	return 0;
}

int area_runs(const struct mapping_list *list, const struct area_list *areas,
	const uint64_t *address, struct process_run *ret_runs, uint32_t max)
{
	struct runs runs = {.run = ret_runs, .max = max};
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < areas->count; i++) {
		rc = add_runs(&runs, list, &areas->item[i], i, address[i]);
		if (rc == 0)
			rc = add_runs(&runs, list, &areas->item[i], i, ANYWHERE);
	}
	return rc < 0 ? rc : (int)runs.count;
}

uint32_t area_filter(const struct area_list *areas, struct mapping_list *list)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < list->count; i++) {
		bool wanted = false;

		for (uint32_t j = 0; j < areas->count && !wanted; j++)
			wanted = is_of_file(&list->item[i], &areas->item[j]);
		if (wanted)
			list->item[kept++] = list->item[i];
	}
	list->count = kept;
	return kept;
}

bool area_merge(struct mapping *mapping, const struct mapping *next)
{
	if (mapping->end != next->start || mapping->device != next->device ||
		mapping->inode != next->inode || mapping_end(mapping) != next->file_offset)
		return false;
	mapping->end = next->end;
	return true;
}

bool area_is_file(const struct area *area, int fd)
{
	struct stat status;

	return fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == area->device &&
	       status.st_ino == area->inode;
}
