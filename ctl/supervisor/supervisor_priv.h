/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the supervisor share. One thread. */
#ifndef VMSWAP_CTL_SUPERVISOR_SUPERVISOR_PRIV_H
#define VMSWAP_CTL_SUPERVISOR_SUPERVISOR_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/supervisor/handover.h"
#include "ctl/supervisor/store.h"

/*
 * A bug that a guest or a disk triggers again and again would burn CPU and hide itself: so many
 * deaths within so long are no accident. Four restarts are room for an accident during recovery.
 */
#define SUPERVISOR_DEATHS_MAX 5u
#define SUPERVISOR_DEATHS_S   30u

struct supervisor_worker {
	pid_t pid; /* 0: there is none */
	int pidfd;
	int socket; /* -1: closed by the worker and its guard */
	/* Once it is dead: until then its guard may have something to say. Else UINT64_MAX. */
	uint64_t guard_deadline_ns;
	bool is_ready;
	bool said_bye;
};

struct supervisor {
	const struct config *config;
	char **argv;
	int ready_fd; /* of the starter, -1 once told */
	int signals;
	bool owns_state_dir; /* made by us */

	int program;   /* O_PATH: what workers are started from */
	int candidate; /* that of an upgrade, while the old worker dies */
	int previous;  /* the way back, until the new worker is ready */
	enum handover_upgrade upgrade;
	uint64_t trial_deadline_ns; /* of a new program's start; UINT64_MAX: none is tried */

	struct supervisor_worker worker;
	enum handover_mode mode;	  /* of the workers that are started */
	enum handover_mode previous_mode; /* of the program that is the way back */
	bool has_served;   /* some worker was ready once: from then on none is given up */
	bool is_waiting;   /* for SIGUSR1 or SIGUSR2, after a crash loop in minimal mode */
	bool is_rescuing;  /* the worker is none: ctl/rescue */
	uint64_t retry_ns; /* a start that failed is tried again then; UINT64_MAX: none */
	uint32_t restarts;
	uint64_t deaths_ns[SUPERVISOR_DEATHS_MAX]; /* the last ones, a ring */
	uint32_t death_count;
	uint64_t end_asked_ns; /* of the last SIGTERM; 0: none */
	bool has_ended;
	int exit_status;

	struct store store;
};

/* requests.c: one request of the worker. The socket is closed when its end is reached. */
void supervisor_serve(struct supervisor *supervisor);
/* rescue.c: what SIGUSR2 asks for; and its end, unless that was orderly. */
struct signalfd_siginfo;
void supervisor_begin_rescue(struct supervisor *supervisor, const struct signalfd_siginfo *info);
void supervisor_end_rescue(struct supervisor *supervisor, int status);
/* supervisor.c: the program, for @mode. -errno. */
int supervisor_launch(struct supervisor *supervisor, enum handover_mode mode);
/* What a request brings about beyond its answer. */
void supervisor_worker_is_ready(struct supervisor *supervisor);
void supervisor_kill_worker(struct supervisor *supervisor);

#endif
