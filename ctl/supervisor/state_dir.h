/* SPDX-License-Identifier: Apache-2.0 */
/* The folder for what outlives a worker in words: process ids, and the files of state_files.h. */
#ifndef VMSWAP_CTL_SUPERVISOR_STATE_DIR_H
#define VMSWAP_CTL_SUPERVISOR_STATE_DIR_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Makes it with mode 0700, or finds it: a folder of ours that nobody else may write, else -EPERM or
 * -ENOTDIR.
 */
int state_dir_make(const char *path, bool *ret_is_new);
#define STATE_DIR_SUPERVISOR "supervisor.pid"
#define STATE_DIR_WORKER     "worker.pid"
#define STATE_DIR_RESCUE     "rescue.json" /* ctl/rescue/report.h */

/* @text into that file, mode 0600, at once or not at all. */
int state_dir_write(const char *path, const char *name, const char *text);
/* Our pid into that file, mode 0600, at once or not at all. */
int state_dir_write_pid(const char *path, const char *name);
/* The pid in there, or -errno; -ENOMSG: none. */
pid_t state_dir_read_pid(const char *path, const char *name);
/* Removes both of the pid files, and, with @with_folder, the folder if it is empty then. */
void state_dir_clear(const char *path, bool with_folder);

#endif
