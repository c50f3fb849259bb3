/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what a successor must know of the attached VMs, beyond the engine's tables. A page of
 * shared memory a VM, changed in place by its worker, and kept by the supervisor with the
 * descriptors: those of the VM under "vm-N", those of its process in place P under "vm-N-P", those
 * of children below "vm-N" (children.h).
 *
 * Beside that all of it has names in the state directory (state_files.h), for the case that the
 * supervisor dies, too. Without a supervisor nothing is kept, and nothing fails.
 *
 * Each entry has one writer at a time: the VM's worker thread. ledger_take() and ledger_give() are
 * for any control thread.
 */
#ifndef VMSWAP_CTL_LEDGER_H
#define VMSWAP_CTL_LEDGER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/area.h"
#include "ctl/attach_options.h"
#include "ctl/job.h"
#include "ctl/keeper.h"
#include "io/shared.h"

struct engine;
struct keeper;
struct region_spec;
struct state_files;
struct swapfile_config;
struct vm;

/* A process of a VM. */
struct ledger_process {
	bool is_used;
	bool has_channel;
	bool is_passing; /* joins and is registered nowhere, or leaves: a successor lets go of it */
	pid_t pid;
	uint64_t start_time;
	uid_t uid;
	char comm[16];
	uint64_t stopped_us;
	uint64_t address[REGIONS_MAX];
	uint32_t remote_count;	/* of its copies, those that are ours to close: all or none */
	int remote[SHARDS_MAX]; /* of every userfaultfd, in order; -1: it has no copy */
};

/* In shared memory; part of the layout (engine/layout.h). */
struct ledger_vm {
	uint64_t magic;
	bool is_attached; /* attached, and not to be detached: else a successor lets go of it */
	char name[VM_NAME_BYTES];
	uid_t owner; /* who attached its own process; or PEER_NO_USER */
	struct target_options options;
	enum zap_way zap;
	uint32_t dwell_ms;
	bool trust_discard;
	bool verify_clean;
	struct area_list areas;
	struct ledger_process process[PROCESSES_MAX];
};

struct ledger_entry {
	struct keeper *keeper; /* NULL: nothing is kept */
	uint32_t number;
	struct shared memory;
};

/* Where names are given; borrowed. Before the first VM. */
void ledger_set_files(const struct state_files *files);
/* --recover would find the engine, and each VM that there was no warning of. */
bool ledger_is_recoverable(void);
/* The engine's parts, once it is started, with its @store. 0 or -errno of keeper_store(). */
int ledger_keep_engine(
	struct keeper *keeper, const struct engine *engine, const struct swapfile_config *store);
/* False: no predecessor's engine is kept. ret_fds: lent, ENGINE_PARTS. */
bool ledger_find_engine(struct keeper *keeper, int *ret_fds);

/* A free number, blank. -ENOSPC, -errno. @keeper NULL: an entry that is in this process only. */
int ledger_take(struct keeper *keeper, struct ledger_entry *ret_entry);
/* The VM is gone, or was never attached: nothing is kept any more. A zeroed entry is fine. */
void ledger_give(struct ledger_entry *entry);
static inline struct ledger_vm *ledger_vm(const struct ledger_entry *entry)
{
	return entry->memory.memory;
}

/* The names of entries. */
#define LEDGER_ENGINE_NAME KEEPER_DAEMON_PREFIX "engine"
void ledger_vm_name(uint32_t number, char ret_name[KEEPER_NAME_BYTES]);
void ledger_process_name(uint32_t number, uint32_t place, char ret_name[KEEPER_NAME_BYTES]);
/* Before its userfaultfds: the pidfd, and the channel (or the pidfd again). */
#define LEDGER_PROCESS_FDS 2u

/* The tables of @vm and the files of its @areas, one each. 0 or -errno. */
int ledger_keep_vm(struct ledger_entry *entry, const struct vm *vm, const int *memfds);
/* Of a process. */
struct ledger_fds {
	int pidfd;
	int channel; /* -1: none */
	int uffds[SHARDS_MAX];
	uint32_t uffd_count; /* one a shard */
};

/*
 * A process, before anything of it is registered: copied to a free place, as one that is passing.
 * 0 or -errno.
 */
int ledger_keep_process(struct ledger_entry *entry, const struct ledger_process *process,
	const struct ledger_fds *fds, uint32_t *ret_place);
/* It joins now, for good: something may be registered. @stopped_us: how long it was stopped. */
void ledger_settle_process(struct ledger_entry *entry, uint32_t place, uint64_t stopped_us);
/* It begins to leave. */
void ledger_unsettle_process(struct ledger_entry *entry, uint32_t place);
/* It has left. */
void ledger_drop_process(struct ledger_entry *entry, uint32_t place);

/* False: whoever wrote it was dying of it, or is no vmswapd. */
bool ledger_makes_sense(const struct ledger_vm *vm);

/* What a predecessor kept. */
struct ledger_found {
	struct ledger_entry entry;
	int parts[8]; /* VM_PARTS, lent */
	int memfds[REGIONS_MAX];
};

/*
 * VM number @number, < VMS_MAX. -ENOENT: none; of one without a process everything is let go of.
 * -ESTALE: of another layout. -EBADMSG: makes no sense.
 */
int ledger_find_vm(struct keeper *keeper, uint32_t number, struct ledger_found *ret_found);
/* Its memory: as many as it has areas. */
void ledger_regions(const struct ledger_found *found, struct region_spec *ret_regions);
/* The descriptors of its process in @place, @uffd_count userfaultfds among them, ours to close. */
int ledger_find_process(const struct ledger_entry *entry, uint32_t place, uint32_t uffd_count,
	struct ledger_fds *ret_fds);

#endif
