/* SPDX-License-Identifier: Apache-2.0 */
/* The folder for what outlives a worker in words: supervisor.pid, and the worker's own files. */
#ifndef VMSWAP_CTL_SUPERVISOR_STATE_DIR_H
#define VMSWAP_CTL_SUPERVISOR_STATE_DIR_H

#include <stdbool.h>

/*
 * Makes it with mode 0700, or finds it: a folder of ours that nobody else may write, else -EPERM or
 * -ENOTDIR.
 */
int state_dir_make(const char *path, bool *ret_is_new);
/* Our pid into supervisor.pid, mode 0600, at once or not at all. */
int state_dir_write_pid(const char *path);
/* Removes supervisor.pid, and, with @with_folder, the folder if it is empty then. */
void state_dir_clear(const char *path, bool with_folder);

#endif
