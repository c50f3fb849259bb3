/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job: one command on one VM, from the request to its result. Control makes it and hands it to
 * the VM's worker, which works on it and hands it back; who has it owns it, but for the atomics.
 */
#ifndef VMSWAP_CTL_JOB_H
#define VMSWAP_CTL_JOB_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/attach_options.h"
#include "ctl/peer.h"
#include "ctl/problem.h"
#include "ctl/state.h"
#include "engine/engine.h"

#define VM_NAME_BYTES 64
/* Runs of pages a job names; there may be more. */
#define MISSING_MAX 32u

struct attachment;
struct mapper;

enum job_state {
	JOB_QUEUED,
	JOB_RUNNING,
	JOB_DONE,
	JOB_FAILED,
	JOB_CANCELLED,
	JOB_STATE_COUNT,
};

enum job_phase {
	PHASE_WAITING,
	PHASE_MAPPERS, /* looking for processes that map the memory and are not attached */
	PHASE_STAGING,
	PHASE_DROPPING,
	PHASE_DWELL, /* until ready_ns */
	PHASE_WRITING,
	PHASE_READING,
	PHASE_CHECKING,
	PHASE_RELEASING,
	PHASE_ATTACHING,
	PHASE_ENDED,
	PHASE_COUNT,
};

struct job_request {
	pid_t pids[PROCESSES_MAX]; /* attach, add, remove, collect */
	uint32_t pid_count;
	struct peer caller;	       /* attach, add: who asked */
	uint32_t process;	       /* collect: the engine's index */
	bool is_final;		       /* detach: second half, the VM is freed */
	struct attach_options *attach; /* attach; freed with the job */
	struct attachment *adopted;    /* attach: of a predecessor; the worker's from then on */
	uint64_t capacity;	       /* record-start; 0: the default */
	uint64_t rate_bytes;	       /* scrub: a second */
	char *path;		       /* record-stop; freed with the job */
};

/* A run of pages. */
struct page_run {
	uint64_t first, count;
};

/* A process as control knows it. */
struct process_info {
	pid_t pid;
	int pidfd; /* of its own; who takes the result closes it */
	uint32_t process;
	char comm[16];
	uint64_t stopped_us;
};

struct job_result {
	enum outcome outcome;
	struct problem problem; /* of REFUSED and FAILED */
	uint64_t pages;
	uint64_t zero_pages;
	uint64_t clean_pages;
	uint64_t left_pages;
	uint64_t bad_pages;    /* scrub: out, and not what was written */
	uint64_t mended_pages; /* scrub: the same, but in RAM */
	uint64_t bytes;
	struct page_run missing[MISSING_MAX]; /* disable: what could not be read, the first of it */
	uint32_t missing_count;
	bool is_registered;	/* the VM, when the job ended */
	enum zap_way zap;	/* what is used by now */
	struct mapper *mappers; /* not attached but mapping the memory; malloc'ed */
	uint32_t mapper_count;
	struct vm *vm;				  /* attach */
	uint32_t dwell_ms;			  /* attach: as chosen */
	uint32_t region_count;			  /* attach */
	struct process_info added[PROCESSES_MAX]; /* attach, add */
	uint32_t added_count;
	uint64_t recorded; /* record-stop: faults written */
	uint64_t dropped;  /* record-stop: that did not fit */
};

struct job {
	/* constant after job_new() */
	uint64_t id;
	enum command command;
	char vm_name[VM_NAME_BYTES];
	/* control thread only */
	enum job_state state;
	uint64_t created_ns;
	uint64_t started_ns;
	uint64_t ended_ns;
	/* who has the job */
	struct job_request request;
	struct job_result result;
	/* any thread, atomics */
	struct dispatch_control control; /* of the dispatch that runs; abort is of the job */
	_Atomic uint64_t base_pages;	 /* of the dispatches before it */
	_Atomic uint64_t pages_total;	 /* about as many will move; 0: not known */
	_Atomic uint64_t ready_ns;	 /* PHASE_DWELL */
	_Atomic int phase;
	_Atomic bool slow_cleanup; /* disable: the store is shrunk gently */
	_Atomic bool gives_up;	   /* disable: what cannot be read is lost */
};

/* NULL: no memory. */
struct job *job_new(uint64_t id, enum command command, const char *vm_name);
/* Closes the descriptors that nobody took. NULL is fine. */
void job_free(struct job *job);

/* Control thread. */
bool job_is_over(const struct job *job);
void job_begin(struct job *job);
void job_end(struct job *job);
const char *job_state_name(enum job_state state);
json_t *job_json(const struct job *job);

/* Worker. */
void job_set_phase(struct job *job, enum job_phase phase);
static inline bool job_is_aborted(const struct job *job)
{
	return atomic_load_explicit(&job->control.abort, memory_order_acquire);
}

/* Any thread. Pages and milliseconds so far. */
uint64_t job_pages(const struct job *job);
uint64_t job_time_ms(const struct job *job);

#endif
