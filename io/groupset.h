/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of small integers with a fast "next member": a bitmap and a bitmap of its non-zero words. A
 * search reads one word, then the words above: at most 1/4096 of the members' range plus two.
 * Owned by one thread.
 */
#ifndef VMSWAP_IO_GROUPSET_H
#define VMSWAP_IO_GROUPSET_H

#include <stdbool.h>
#include <stdint.h>

#define GROUPSET_NONE UINT32_MAX

struct groupset {
	uint64_t *members;
	uint64_t *nonzero; /* bit w: members[w] != 0 */
	uint32_t count;
};

/* Holds members of [0, @count), none at first. -ENOMEM. */
int groupset_init(struct groupset *set, uint32_t count);
/* A zeroed struct is fine. */
void groupset_done(struct groupset *set);

/* Both are idempotent. */
void groupset_add(struct groupset *set, uint32_t member);
void groupset_remove(struct groupset *set, uint32_t member);
bool groupset_has(const struct groupset *set, uint32_t member);
/* The first member at or above @from, else the first of all, else GROUPSET_NONE. */
uint32_t groupset_next(const struct groupset *set, uint32_t from);

#endif
