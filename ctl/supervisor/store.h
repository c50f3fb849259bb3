/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors by name, in memory that is there from the start. One thread.
 *
 *   entries   a: first 0, count 3 │ b: first 3, count 1 │ c: first 4, count 2, still coming in
 *   fds       5 6 7               │ 9                   │ 12
 */
#ifndef VMSWAP_CTL_SUPERVISOR_STORE_H
#define VMSWAP_CTL_SUPERVISOR_STORE_H

#include <stdint.h>

#include "ctl/supervisor/handover.h"
#include "engine/limits.h"

/*
 * A VM of 32 processes on 64 shards has 2048 userfaultfds: eight of those, or all 256 VMs with 64
 * each. The supervisor's limit of open files has to hold them.
 */
#define STORE_FDS_MAX 16384u
/* Userfaultfds, memory, tables and what may come, each VM; the daemon's own. */
#define STORE_ENTRIES_MAX (VMS_MAX * 8u + 32u)

struct store_entry {
	char name[HANDOVER_NAME_BYTES];
	uint32_t first; /* in fds */
	uint32_t total;
	uint32_t count; /* of total that are there: less in the last entry only */
};

struct store {
	uint32_t entry_count;
	uint32_t fd_count;
	struct store_entry entries[STORE_ENTRIES_MAX];
	int fds[STORE_FDS_MAX];
};

/*
 * Adds the @count descriptors that are number @first and on of @total under @name; they are the
 * store's then. Parts come in order; another name, or @first 0, drops what is incomplete. -EINVAL:
 * no name, no descriptors, or not the part that is due; -ENOSPC: full. On errors the descriptors
 * stay the caller's. 1: the entry is complete and the last one; an older one of its name, which
 * store_find() finds first, is the caller's to remove. 0: more has to come.
 */
int store_add(struct store *store, const char *name, uint32_t first, uint32_t total, const int *fds,
	uint32_t count);
/* The first complete entry of that name, or NULL. */
const struct store_entry *store_find(const struct store *store, const char *name);
/* Complete entries are the first ones: 0 to store_count() - 1. */
uint32_t store_count(const struct store *store);
/* Closes an entry's descriptors; others move up. */
void store_remove(struct store *store, const struct store_entry *entry);
/* The first complete entry below @name: its own name begins with @name and a "/"; or NULL. */
const struct store_entry *store_find_below(const struct store *store, const char *name);
/* What never became complete: its sender is gone. */
void store_drop_incomplete(struct store *store);
/* Complete entries that are not the daemon's own. */
uint32_t store_count_of_guests(const struct store *store);

#endif
