/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Areas: the guest memory of a VM cut so that each piece lies in one file and, in every process
 * that maps it, in one run of addresses.
 *
 *   file        |0            1G           2G|
 *   process A   |=========== one mapping ====|
 *   process B   |== here ====|   |= there ===|
 *   areas       |     0      | 1 |     2     |     area 1 is not mapped in B
 */
#ifndef VMSWAP_CTL_AREA_H
#define VMSWAP_CTL_AREA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/limits.h"

struct mapping;
struct mapping_list;
struct problem;
struct process_run;

struct area {
	dev_t device;
	ino_t inode;
	uint64_t file_offset;
	uint64_t size_bytes;
};

struct area_list {
	struct area item[REGIONS_MAX];
	uint32_t count;
};

/* Cuts what the @count lists map. -E2BIG: more than REGIONS_MAX areas. -ENOMEM. */
int area_collect(const struct mapping_list *const *lists, uint32_t count,
	struct area_list *ret_areas, struct problem *problem);

/*
 * Where @area lies in the process with this list: 0 when it is not mapped there. -EEXIST: mapped
 * twice; -EINVAL: only a part of it is mapped.
 */
int area_address(const struct mapping_list *list, const struct area *area, uint64_t *ret_address);

/*
 * All that the process with this list maps of the @areas, whose number is the run's region; what
 * lies where @address says first, and no page twice. How many runs, at most @max; -E2BIG: more.
 */
int area_runs(const struct mapping_list *list, const struct area_list *areas,
	const uint64_t *address, struct process_run *ret_runs, uint32_t max);

/* Leaves in @list only the mappings of files that @areas cut; the count that is left. */
uint32_t area_filter(const struct area_list *areas, struct mapping_list *list);

bool area_is_file(const struct area *area, int fd);
/* Grows @mapping by @next when that continues it, in addresses and in the file. */
bool area_merge(struct mapping *mapping, const struct mapping *next);

#endif
