/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper makes what kernel swap needs of the host, and takes it back when told to, or when the
 * benchmark is gone, however that ended:
 *
 *   bench ──fork──► keeper    cgroup, swap area on
 *     │◄───"ready"────┤
 *     │               │ waits
 *     ├───"stop"─────►│         or the bench's pidfd says it has ended
 *     │◄───"done"─────┤       members of the cgroup killed, swap area off, all removed
 *
 * It is no child of the benchmark and in a session of its own, so that neither a terminal's signals
 * nor one that kills the whole tree of processes reaches it.
 */
#ifndef VMSWAP_PERF_CONTESTANT_KEEPER_H
#define VMSWAP_PERF_CONTESTANT_KEEPER_H

#include "perf/contestant/cgroup.h"
#include "perf/contestant/contestant.h"
#include "perf/contestant/swap_area.h"

struct keeper {
	int socket;	      /* -1: there is none */
	struct cgroup cgroup; /* the keeper removes it; others may use it until then */
};

/* On error contestant_fail() has said why, and nothing is left. */
int keeper_start(struct contestant *self, enum swap_area_kind kind, uint64_t size_bytes,
	struct keeper *ret_keeper);
/* Returns when all is taken back; an error, too, is said by contestant_fail(). */
int keeper_stop(struct contestant *self, struct keeper *keeper);

#endif
