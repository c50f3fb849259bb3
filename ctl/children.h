/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children that a VMM forked: the supervisor holds their userfaultfds, by names below their VM's in
 * the ledger ("vm-N/PLACE.PID.SHARD.NUMBER"), so that they wait for the next worker, and do not
 * read zeros, when this one dies. When the supervisor dies, too, the worker's guard has them
 * (fork_guard.h).
 */
#ifndef VMSWAP_CTL_CHILDREN_H
#define VMSWAP_CTL_CHILDREN_H

#include <stdint.h>
#include <sys/types.h>

#include "ctl/keeper.h"
#include "engine/engine.h"

struct attachment;
struct keeper;
struct ledger_entry;

/* The engine's, whose shards call it; @keeper outlives the engine. */
struct children_home children_home(struct keeper *keeper);
void children_name(const struct engine_child *child, char ret_name[KEEPER_NAME_BYTES]);
/* What the engine tells of a child: process @pid in place @place of VM @number has it. */
uint64_t children_tag(uint32_t number, uint32_t place, pid_t pid);
/* Greater than those of all children that a predecessor kept of the VM. */
uint32_t children_next_number(const struct ledger_entry *entry);
/* The VM's processes are served: so are their children, or nobody needs to. Start-up only. */
void children_adopt(struct attachment *attachment);
/* No page is out any more: whatever of them is left goes on by itself. */
void children_forget(const struct ledger_entry *entry);

#endif
