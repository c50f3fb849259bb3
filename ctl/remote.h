/* SPDX-License-Identifier: Apache-2.0 */
/* Which descriptor of another process is a copy of ours. */
#ifndef VMSWAP_CTL_REMOTE_H
#define VMSWAP_CTL_REMOTE_H

#include <sys/types.h>

/*
 * The number, in process @pid, of a userfaultfd that is the same open file as our @fd. -1: there is
 * none, or the process may not be looked at.
 */
int remote_find(pid_t pid, int fd);

#endif
