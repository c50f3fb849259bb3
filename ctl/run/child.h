/* SPDX-License-Identifier: Apache-2.0 */
/* The program that vmswap-run starts, with userfaultfds made in it before its first instruction. */
#ifndef VMSWAP_CTL_RUN_CHILD_H
#define VMSWAP_CTL_RUN_CHILD_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/limits.h"

struct problem;

struct child {
	pid_t pid;
	uint32_t fd_count;
	int fds[SHARDS_MAX]; /* ours; the child has copies */
};

/*
 * Starts @argv with @mask as its signal mask and @count userfaultfds in it (0: none). On error
 * nothing of it runs. -ENOENT, -EACCES…: reason "exec", the program could not be started; else as
 * inject_uffds().
 */
int child_start(char *const *argv, const sigset_t *mask, uint32_t count, struct child *ret_child,
	struct problem *problem);

#endif
