/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM as its worker knows it: the engine's VM, the areas of its memory and the processes that map
 * them. Worker thread of the VM only; every call may block.
 */
#ifndef VMSWAP_CTL_ATTACH_H
#define VMSWAP_CTL_ATTACH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/area.h"
#include "ctl/job.h"
#include "ctl/ledger.h"
#include "ctl/member.h"
#include "ctl/target.h"
#include "engine/engine.h"

struct attachment {
	struct engine *engine;
	struct ledger_entry ledger;
	struct vm *vm; /* NULL: nothing attached */
	struct area_list areas;
	struct target_options options;
	struct peer caller; /* for whom processes are opened */
	enum zap_way zap;
	uint32_t dwell_ms;
	uint64_t quiet_until_ns; /* no eviction before: the dwell of a process that came late */
	struct member member[PROCESSES_MAX];
	uint32_t member_count;
};

/* The whole flow of vm.attach, from pids to a VM in state ready; undone on error. */
int attach_open(struct engine *engine, struct keeper *keeper, struct job *job,
	struct attachment *ret_attachment);
/*
 * The same for one that a successor has taken over: job->request.adopted. -ECANCELED: its attach or
 * detach was cut off, and nothing of it is left.
 */
int attach_take(struct job *job, struct attachment *ret_attachment);

/* A process that comes later; zapped when the VM is registered. */
int attach_add(struct attachment *attachment, struct job *job);
/* A living process that has unmapped the memory, or any while the VM is not registered. */
int attach_remove(struct attachment *attachment, struct job *job);
/* A process that has died. Nothing happens when it is not known (any more). */
void attach_collect(struct attachment *attachment, uint32_t process);

/* Gives the processes up and frees the VM, which must not be registered unless all are dead. */
void attach_close(struct attachment *attachment);

struct member *attach_find(struct attachment *attachment, pid_t pid);
/* One that is alive, or NULL. */
struct member *attach_any_alive(struct attachment *attachment);

#endif
