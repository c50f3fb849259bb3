/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's side of the supervisor: what is stored there outlives the worker, and its successor
 * finds it. For control threads, but for keeper_post_*(); they wait for the supervisor, for
 * KEEPER_WAIT_MS at most. Without a supervisor (a NULL keeper, or one that has died) they do
 * nothing; the death is logged once.
 */
#ifndef VMSWAP_CTL_KEEPER_H
#define VMSWAP_CTL_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/supervisor/handover.h"

/* The supervisor answers in microseconds; one that is stopped must not stop the control socket. */
#define KEEPER_WAIT_MS 2000
/*
 * Longest name with its zero. Names that begin with KEEPER_DAEMON_PREFIX belong to no guest: a
 * supervisor that holds nothing else may end.
 */
#define KEEPER_NAME_BYTES    HANDOVER_NAME_BYTES
#define KEEPER_DAEMON_PREFIX HANDOVER_DAEMON_PREFIX
/* The control socket's lock and listener, in this order. */
#define KEEPER_LISTENER KEEPER_DAEMON_PREFIX "listener"

struct keeper;

struct keeper_info {
	int32_t supervisor_pid;	       /* 0: there is none */
	uint32_t restarts;	       /* workers that died and were replaced */
	enum handover_upgrade upgrade; /* that this worker came from */
};

/* The supervisor's end that this process was started with, or -1. Once. */
int keeper_inherited_socket(void);
/* Constant; -1 without a supervisor. */
int keeper_socket(const struct keeper *keeper);
/* What it started this process for. Once. */
enum handover_mode keeper_inherited_mode(void);
/*
 * Takes @socket_fd over and fetches all that a predecessor has stored. -1: there is no supervisor,
 * and the keeper is NULL.
 */
int keeper_open(int socket_fd, struct keeper **ret_keeper);
/* Closes what was fetched; the supervisor keeps its own. */
void keeper_close(struct keeper *keeper);

/*
 * Stores duplicates of @fds under @name, in place of what has that name; held when this returns 0.
 * What keeper_find() lent under that name is closed. -EINVAL: name or @count out of range.
 * -ENOSPC: the supervisor is full. -ETIMEDOUT: it does not answer.
 */
int keeper_store(struct keeper *keeper, const char *name, const int *fds, uint32_t count);
/* Lets go of the name here and there; what keeper_find() lent is closed. */
void keeper_forget(struct keeper *keeper, const char *name);
/* The same for all names that begin with @name and a "/". */
void keeper_forget_below(struct keeper *keeper, const char *name);
/*
 * One descriptor stored, or a name forgotten, without waiting for anybody: for shards, too. It may
 * not come to pass: -EAGAIN when the supervisor is behind, -EPIPE when it is gone, and nothing is
 * said when it is full.
 */
int keeper_post_store(const struct keeper *keeper, const char *name, int fd);
int keeper_post_forget(const struct keeper *keeper, const char *name);
/*
 * The next name below @name of what a predecessor stored, from *@index on, which moves behind it.
 * False: no more. ret_fd: the first of its descriptors, lent as by keeper_find().
 */
bool keeper_next_below(struct keeper *keeper, const char *name, uint32_t *index,
	char ret_name[KEEPER_NAME_BYTES], int *ret_fd);
/*
 * What a predecessor stored under @name: the first @max of its descriptors, lent until
 * keeper_forget(), keeper_store() of that name, keeper_release() or keeper_close(). How many there
 * are; 0: none.
 */
uint32_t keeper_find(struct keeper *keeper, const char *name, int *ret_fds, uint32_t max);
/* The takeover is done: what keeper_find() lent is closed; the supervisor has its own. */
void keeper_release(struct keeper *keeper);

/* The worker serves: whoever started the daemon is told. */
int keeper_ready(struct keeper *keeper);
/* The worker ends in order: the supervisor ends with it. */
void keeper_bye(struct keeper *keeper);
/* Replaces this process by @program_fd. On 0 the supervisor is about to kill it. */
int keeper_upgrade(struct keeper *keeper, int program_fd);
void keeper_info(struct keeper *keeper, struct keeper_info *ret_info);

#endif
