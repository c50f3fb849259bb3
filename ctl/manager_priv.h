/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the manager share. */
#ifndef VMSWAP_CTL_MANAGER_PRIV_H
#define VMSWAP_CTL_MANAGER_PRIV_H

#include "ctl/manager.h"
#include "ctl/problem.h"

/* manager_jobs.c: what a worker handed back. */
void manager_take_result(struct manager *manager, struct job *job);

/* manager_waiters.c */
void manager_answer_job(struct manager *manager, const struct record *record, struct job *job);
void manager_answer_state(struct manager *manager, const struct record *record);
void manager_answer_gone(struct manager *manager, const char *vm_name);
void manager_answer_shutdown(struct manager *manager, const char *failure);
void manager_expire_waiters(struct manager *manager);

/* manager_events.c */
void manager_take_engine_events(struct manager *manager);
void manager_take_signals(struct manager *manager);
void manager_process_exited(struct manager *manager, int pidfd);
/* A VM is gone, or could not be detached: a shutdown ends or is called off. */
void manager_continue_shutdown(struct manager *manager, const char *failure);

/* manager_upgrade.c: the call is answered when the program does not fit. */
void manager_take_upgrade(struct manager *manager);
/* Calls an upgrade off, if there is one. */
void manager_end_upgrade(struct manager *manager, const struct problem *problem);

/* manager.c */
void manager_remove_record(struct manager *manager, struct record *record);
struct record *manager_find_by_vm(struct manager *manager, const struct vm *vm);
/* Keeps a job that ended for job.list, or frees it. */
void manager_keep_job(struct manager *manager, struct job *job);
/* The commands that clients see as jobs. */
bool manager_is_listed(const struct job *job);
int manager_watch(struct manager *manager, int fd);
/* Before a close: a duplicate somewhere would keep it in the epoll set. */
void manager_unwatch(struct manager *manager, int fd);

#endif
