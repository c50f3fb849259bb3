/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread: it knows every VM and job, decides what is legal, hands work to the VMs'
 * workers and takes it back, and answers clients. It never blocks; whatever may is a worker's.
 *
 *   clients ──► server ──► methods ──► manager ──jobs──► workers ──► engine
 *      ◄── answers, events ──┘            ◄──results──┘
 *
 * All functions: control thread only.
 */
#ifndef VMSWAP_CTL_MANAGER_H
#define VMSWAP_CTL_MANAGER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/config.h"
#include "ctl/job.h"
#include "ctl/record.h"
#include "ctl/waiter.h"
#include "engine/limits.h"

struct attachment;
struct call;
struct cleaner;
struct cmdq;
struct engine;
struct keeper;
struct server;
struct upgrade;

/* Jobs of clients that are remembered. */
#define MANAGER_JOBS_MAX 256u

struct manager {
	const struct config *config;
	struct engine *engine;
	struct keeper *keeper; /* NULL: no supervisor */
	struct cleaner *cleaner;
	struct server *server;
	struct cmdq *results;
	int epoll;
	int signals;
	uint64_t started_ns;

	struct record *record[VMS_MAX];
	uint32_t record_count;
	struct job *job[MANAGER_JOBS_MAX]; /* oldest first */
	uint32_t job_count;
	uint64_t last_job_id;
	struct waiter_list waiters;

	struct upgrade *upgrade; /* under way, or NULL */
	struct call *upgrade_call;

	bool is_ending; /* a shutdown is under way: nothing new is taken */
	bool has_ended;
	/* events of the engine that were not logged, so that a bad disk does not flood the log */
	uint64_t event_logged_ns;
	uint64_t events_unlogged;
};

/* Opens what the control thread needs; the engine is started. @config stays the caller's. */
int manager_open(const struct config *config, struct engine *engine, struct keeper *keeper,
	struct manager **ret_manager);
/* A VM that was taken over from a predecessor; owned from now on. Before manager_run(). -errno. */
int manager_adopt(struct manager *manager, const char *name, struct attachment *attachment);
/* Until an orderly end. */
void manager_run(struct manager *manager);
/* No VM may be left. NULL is fine. */
void manager_close(struct manager *manager);

/* For methods.c. */
struct record *manager_find(struct manager *manager, const char *name);
/* The VM that has this process attached, or is attaching it; NULL. */
struct record *manager_find_by_pid(struct manager *manager, pid_t pid);
struct job *manager_find_job(struct manager *manager, uint64_t id);

/* A new VM in phase attaching. -EEXIST: the name is taken; -ENOSPC: too many VMs; -errno. */
int manager_new_record(struct manager *manager, const char *name, struct record **ret_record);
/* NULL: no memory, or too many jobs. */
struct job *manager_new_job(struct manager *manager, const char *vm_name, enum command command);
/*
 * Starts the job, or queues it behind the one it aborts. The job is the manager's. Its legality was
 * checked with manager_verdict().
 */
void manager_start(struct manager *manager, struct record *record, struct job *job);
/* For an illegal command, ret_what says which operation is in the way, or NULL: the state is. */
enum verdict manager_verdict(
	const struct record *record, enum command command, const char **ret_what);
/* False when it has ended. */
bool manager_cancel(struct manager *manager, struct job *job);

/*
 * Ends what runs and what waits, then detaches; @reason is static. NULL when that is under way
 * already, or there is no memory.
 */
struct job *manager_detach(struct manager *manager, struct record *record, const char *reason);

/* False and what is missing when the memory that is out does not fit into RAM. */
bool manager_may_shut_down(struct manager *manager, uint64_t *ret_missing_bytes);
/* Detaches all VMs, then ends; called off when one cannot be detached. */
void manager_shut_down(struct manager *manager);

/* Asks the program at @path (NULL: our own) whether it fits, and makes way for it. */
void manager_begin_upgrade(struct manager *manager, struct call *call, const char *path);

/* {"type":@type,"time_ms":…,"vm":@vm (may be NULL)} and the members of @more (stolen, may be NULL).
 */
void manager_publish(struct manager *manager, const char *type, const char *vm, json_t *more);

#endif
