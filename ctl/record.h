/* SPDX-License-Identifier: Apache-2.0 */
/* A VM as control knows it. Control thread only. */
#ifndef VMSWAP_CTL_RECORD_H
#define VMSWAP_CTL_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/job.h"
#include "ctl/maps.h"
#include "ctl/state.h"
#include "engine/limits.h"

struct vm;
struct worker;

/* Foreign mappers that are shown. */
#define RECORD_FOREIGN_MAX 16u
/* Short jobs that clients may have under way on one VM. */
#define RECORD_SHORT_MAX 16u

enum record_phase {
	RECORD_ATTACHING, /* nobody sees it but the attach request; the name is taken */
	RECORD_ATTACHED,
	RECORD_LEAVING, /* detached; the worker frees what is left */
};

struct record {
	char name[VM_NAME_BYTES];
	enum record_phase phase;
	enum vm_state state;  /* as shown */
	enum vm_state before; /* when the running job began */
	struct vm *vm;	      /* to read statistics; the worker's otherwise */
	struct worker *worker;

	struct process_info process[PROCESSES_MAX];
	uint32_t process_count;
	uid_t owner;	     /* who attached its own process; or PEER_NO_USER */
	uint64_t stopped_us; /* the longest of the attach */
	struct mapper foreign[RECORD_FOREIGN_MAX];
	uint32_t foreign_count;

	/* At most one long job runs and one waits for it to end. */
	struct job *running;
	struct job *next;
	uint32_t short_count;
	const char *leave_reason; /* of a detach that runs or waits */

	enum zap_way zap;
	uint32_t dwell_ms;
	uint32_t region_count;
	char failure[PROBLEM_BYTES]; /* "": none */
	/* of the last operation that ended */
	bool has_transition;
	enum command transition_command;
	uint64_t transition_pages;
	uint64_t transition_ms;
};

/* NULL: no memory. */
struct record *record_new(const char *name);
void record_free(struct record *record);

/* "COMM-PID", from /proc; -ESRCH. */
int record_default_name(pid_t pid, char *ret_name);
/* Letters, digits and -._:+@, not too long. */
bool record_name_is_valid(const char *name);

void record_add_process(struct record *record, struct process_info *info);
/* Closes its pidfd, which must not be watched any more. False when it is not there. */
bool record_remove_process(struct record *record, uint32_t process);
struct process_info *record_find_pid(struct record *record, pid_t pid);
struct process_info *record_find_pidfd(struct record *record, int pidfd);

/* Takes over what a job that ended says about the VM. */
void record_take_result(struct record *record, struct job *job);

#endif
