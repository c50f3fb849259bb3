/* SPDX-License-Identifier: Apache-2.0 */
/* Which descriptor of another process is a copy of ours. */
#ifndef VMSWAP_CTL_REMOTE_H
#define VMSWAP_CTL_REMOTE_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether @number of process @pid is a userfaultfd. False as well when it cannot be told. */
bool remote_is_userfaultfd(pid_t pid, int number);
/* Whether it is the same open file as our @fd. False as well when it cannot be told. */
bool remote_is_copy(pid_t pid, int number, int fd);
/*
 * The number, in process @pid, of a userfaultfd that is the same open file as our @fd. -1: there is
 * none, or the process may not be looked at.
 */
int remote_find(pid_t pid, int fd);

#endif
