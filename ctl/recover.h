/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vmswapd --recover`: supervisor and worker of an earlier daemon are dead, or only the supervisor
 * is, and its worker is ended here. What is in the state directory (state_files.h) and in the
 * monitors themselves, which keep copies of our userfaultfds, goes into the store of a new
 * supervisor, as if its own worker had put it there; the worker that is started next takes over as
 * after any crash.
 *
 *   engine   tables and store by their names
 *   VM       tables by name, key from the keyring, guest memory from a process that maps it
 *   process  by pid and start time; its userfaultfds by their numbers in there (pidfd_getfd(2))
 *   child    in the guard of the last worker (fork_guard.h)
 *
 * Start of the supervisor only; allocates.
 */
#ifndef VMSWAP_CTL_RECOVER_H
#define VMSWAP_CTL_RECOVER_H

struct config;
struct store;

/*
 * Of VMs whose processes are all dead what is left is removed. Others are an error without
 * config->is_recover. 0 also when there is nothing; -errno after a message: @store is to be given
 * up, the state directory is as it was.
 */
int recover_take(const struct config *config, struct store *store);
/* The daemon ends in order and holds nothing of a guest: nothing is left for a later one. */
void recover_forget(const struct config *config);

#endif
