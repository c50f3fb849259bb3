/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that maps the memory of a VM: opened (looked at, nothing changed), joined (its faults
 * are ours), left. Worker thread of the VM; every call may block.
 */
#ifndef VMSWAP_CTL_MEMBER_H
#define VMSWAP_CTL_MEMBER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/area.h"
#include "ctl/job.h"
#include "ctl/target.h"
#include "engine/limits.h"

struct engine;
struct ledger_entry;
struct problem;
struct process_run;
struct vm;

struct member {
	struct target target;
	bool is_joined;
	uint32_t process;	       /* the engine's index, once joined */
	uint64_t address[REGIONS_MAX]; /* of each area, once joined; 0: not mapped */
	uint64_t stopped_us;
	int channel;		/* to its own helper thread; -1: calls are injected */
	int remote[SHARDS_MAX]; /* its copies of our userfaultfds; -1: it has none of that one */
	uint32_t remote_count;	/* of them, those that are ours to close: all or none */
	int uffds[SHARDS_MAX];	/* ours, of those: which number leads to a copy is told by them */
	bool is_kept;
	uint32_t place; /* in the ledger, when kept */
};

/* Finds every mapping of at least the minimum, or refuses. */
int member_open(pid_t pid, const struct target_options *options, struct member *ret_member,
	struct problem *problem);
/* The VMM itself gave regions and channel; they are taken out of @options. */
int member_open_self(pid_t pid, struct attach_options *options, struct member *ret_member,
	struct problem *problem);
/* Reads its mappings of the files in @areas again, whatever their size. */
int member_read_maps(struct member *member, const struct area_list *areas, struct problem *problem);

/* What a member joins. */
struct member_join {
	struct vm *vm;
	uint32_t shard_count;
	const struct area_list *areas;
	struct attach_options *options; /* with its userfaultfds, or NULL: they are made */
	struct ledger_entry *ledger;
};

/*
 * Gives the engine one userfaultfd a shard of the process. On error some may be left in the
 * process: member_close_copies() closes them.
 */
int member_join(struct member *member, const struct member_join *join, struct problem *problem);
/*
 * Opens descriptors of our own beside the engine's @fds, one a shard: the first says which program
 * is meant, all of them which numbers of the process lead to copies. Part of member_join(); for one
 * that is adopted. 0 or -errno.
 */
int member_hold(struct member *member, const int *fds);
/* 0 while each area lies where it lay, or nowhere; -EREMCHG with reason "mapping-changed". */
int member_check_maps(
	const struct member *member, const struct area_list *areas, struct problem *problem);
/*
 * 1: it has moved or unmapped some of its memory, and @ret_runs, room for SPANS_MAX, say what it
 * maps now. 0: all lies where it lay, or it has died. -errno: that cannot be told.
 */
int member_find_runs(const struct member *member, const struct area_list *areas,
	struct process_run *ret_runs, uint32_t *ret_count);
/* Alive or not: it does not map the memory any more. */
bool member_has_unmapped(const struct member *member, const struct area_list *areas);
/* A successor lets go of it from here on; the engine's part of leaving, see vm_process_remove(). */
void member_leave(struct member *member, struct vm *vm, struct ledger_entry *ledger);
/* Closes our descriptors in the process. It must have left. */
void member_close_copies(struct member *member);
/* A successor need not know it any more: no copy is left that it could close. */
void member_forget(struct member *member, struct ledger_entry *ledger);
/* Closes our descriptors. */
void member_close(struct member *member);

/* False once it has died, whether collected or not, or runs another program. */
bool member_is_alive(const struct member *member);
void member_describe(const struct member *member, struct process_info *ret_info);

#endif
