/* SPDX-License-Identifier: Apache-2.0 */
/* How much RAM pages that come back can get before the host or a memory cgroup runs out. */
#ifndef VMSWAP_CTL_ROOM_H
#define VMSWAP_CTL_ROOM_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct problem;

/* MemAvailable of a /proc/meminfo. -errno; -EBADMSG when it is not there. */
int room_read_available(FILE *meminfo, uint64_t *ret_bytes);

/*
 * The least of what the host and the memory cgroups of @pid (memcg.h) have left; 0: of the host
 * alone. A process that is gone counts for nothing. The daemon's own cgroups do not: the kernel
 * charges a page that UFFDIO_COPY brings to the process that it is brought to. -errno.
 */
int room_for(pid_t pid, uint64_t *ret_bytes);

/* Bytes that are missing so that @bytes fit for @pid: 0 when they do. -errno. */
int room_missing(pid_t pid, uint64_t bytes, uint64_t *ret_missing);
/* -ENOMEM and the problem, which says how much is missing, unless @bytes fit. */
int room_check(pid_t pid, uint64_t bytes, struct problem *problem);

#endif
