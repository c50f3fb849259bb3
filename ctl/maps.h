/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process maps: /proc/PID/maps and smaps, read for shared guest memory. Control threads.
 */
#ifndef VMSWAP_CTL_MAPS_H
#define VMSWAP_CTL_MAPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A shared, writable mapping of shmem; neighbours of one file that touch are merged. */
struct mapping {
	uint64_t start, end; /* addresses */
	uint64_t file_offset;
	dev_t device;
	ino_t inode;
	bool is_locked;	    /* VmFlags lo */
	bool is_registered; /* VmFlags um, ui or uw: a userfaultfd is there */
	char name[128];
};

struct mapping_list {
	struct mapping *item; /* sorted by address; freed by maps_free() */
	uint32_t count;
	/* what else was seen, for a good refusal */
	uint64_t largest_private_bytes; /* largest anonymous or private writable mapping */
	uint64_t largest_shared_bytes;	/* largest shared shmem mapping, whatever the minimum */
	uint64_t largest_hugetlb_bytes; /* largest hugetlbfs mapping */
};

/* Shared shmem mappings of at least @min_bytes after merging. -ESRCH: gone; -errno. */
int maps_read(pid_t pid, uint64_t min_bytes, struct mapping_list *ret_list);
void maps_free(struct mapping_list *list);

/* A process that maps one of the files. */
struct mapper {
	pid_t pid;
	char comm[16];
	bool all_registered;	       /* every mapping of the files in it has a userfaultfd */
	uint64_t unregistered_address; /* one that has not, or 0 */
};

/*
 * Every process (but the calling one) that maps, shared, one of the files that @list maps. The
 * result is malloc'ed. Threads of one process count once. -errno. Processes that stay closed to us
 * although we have CAP_SYS_PTRACE are passed over; without it, one that is closed is -EACCES.
 */
int maps_find_mappers(
	const struct mapping_list *list, struct mapper **ret_mappers, uint32_t *ret_count);

#endif
