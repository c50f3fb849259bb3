/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `vmswapd --recover` finds in the state directory when supervisor and worker are both dead:
 * names of the tables, which are files there (io/shared.h), where the store is, and the keys.
 *
 *   engine.header engine.slots                       the engine's tables
 *   engine.store                                     a symbolic link to the store
 *   engine.children                                  who has forked children (guard_state.h)
 *   vm-N.ledger .words .digests .chunks .header      those of VM N; complete with the ledger,
 *                                                    which comes last and goes first
 *   worker.pid                                       the last worker
 *   in the kernel's keyring (keyring.h)              the key of VM N
 *
 * The directory must be of a tmpfs: tables on a disk would be written to it, and waited for, all
 * the time. Without one nothing is kept, and nothing else changes.
 *
 * Whoever holds engine.header open holds its lock (flock(2)): as long as somebody does, the state
 * is in use. Control threads.
 */
#ifndef VMSWAP_CTL_STATE_FILES_H
#define VMSWAP_CTL_STATE_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/successor.h"
#include "io/swapfile.h"

struct state_files {
	int folder; /* -1: nothing is kept */
	dev_t device;
	ino_t inode; /* of the folder: part of the names of keys */
};

/* -EMEDIUMTYPE: not of a tmpfs. -errno. */
int state_files_open(const char *path, struct state_files *ret_files);
/* The same by a worker, or what runs in its place: worker.pid names it from then on. */
int state_files_open_as_worker(const char *path, struct state_files *ret_files);
void state_files_close(struct state_files *files);
/* Bytes that tables may take there: half of the tmpfs, which others use, too. */
uint64_t state_files_room(const struct state_files *files);

/*
 * Names the parts of a new engine, whose header is locked then, and the @store, which gets a name
 * itself when it has none. On errors nothing is kept. -ENOENT: the store can have no name.
 */
int state_files_keep_engine(const struct state_files *files, const int parts[ENGINE_PARTS],
	const struct swapfile_config *store);
/* Nothing is left of it, nor the name of a store that had none. */
void state_files_drop_engine(const struct state_files *files);

/* Names the file @fd, in place of another one. -errno. */
int state_files_keep_children(const struct state_files *files, int fd);
/* -ENOENT: there is none. */
int state_files_find_children(const struct state_files *files);

/* Names the parts of VM @number. On errors nothing is kept: -EXDEV: a table lies elsewhere. */
int state_files_keep_vm(
	const struct state_files *files, uint32_t number, int ledger, const int parts[VM_PARTS]);
/* Nothing is left of it, the key included. */
void state_files_drop_vm(const struct state_files *files, uint32_t number);

/* The engine's header of an earlier daemon: a descriptor, not locked. -ENOENT: there is none. */
int state_files_find_header(const struct state_files *files);
/* The path of its store. -errno. */
int state_files_find_store(const struct state_files *files, char *ret_path, size_t size);
bool state_files_has_engine(const struct state_files *files);
int state_files_find_slots(const struct state_files *files);
/* A VM's ledger. -ENOENT: there is no such VM. */
int state_files_find_ledger(const struct state_files *files, uint32_t number);
/*
 * Its tables and its key. -errno, nothing open then; -ENOKEY: the kernel has not kept the key.
 */
int state_files_find_vm(const struct state_files *files, uint32_t number, int ret_parts[VM_PARTS]);

#endif
