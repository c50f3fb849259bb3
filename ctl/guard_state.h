/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guard of forked children (fork_guard.h) and its worker share, a file of the state
 * directory where that has names for tables: which children there are, and where to get them.
 * Set-up of a worker or of a supervisor.
 */
#ifndef VMSWAP_CTL_GUARD_STATE_H
#define VMSWAP_CTL_GUARD_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/child.h"
#include "io/shared.h"

struct state_files;

/* In shared memory. */
struct guard_state {
	uint64_t magic;
	uint32_t layout; /* LAYOUT_VERSION */
	uint32_t shard_count;
	pid_t pid; /* of the guard; 0: not started yet */
	uint64_t start_time;
	struct child_board board[];
};

/* A guard that lives. */
struct guard_found {
	struct shared memory;
	int pidfd;
};

/* -errno. */
int guard_state_make(uint32_t shard_count, struct shared *ret_memory);
/* -ENOENT: none lives. */
int guard_state_find(const struct state_files *files, struct guard_found *ret_found);
/*
 * The next child from *@place on, which moves behind it: counts shards and children. False: no
 * more. It may end at any time.
 */
bool guard_state_next(const struct guard_found *found, uint32_t *place,
	struct engine_child *ret_child, int *ret_number);
/* A copy of descriptor @number of the guard. -errno. */
int guard_state_fetch(const struct guard_found *found, int number);
/* Nobody needs what it has. */
void guard_state_end(const struct guard_found *found);
void guard_state_close(struct guard_found *found);

#endif
