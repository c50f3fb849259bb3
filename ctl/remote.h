/* SPDX-License-Identifier: Apache-2.0 */
/* Which descriptors of another process are copies of ours. */
#ifndef VMSWAP_CTL_REMOTE_H
#define VMSWAP_CTL_REMOTE_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Numbers, in process @pid, of userfaultfds that are the same open file as one of @fds. How many
 * were found, at most @count; 0 also when the process may not be looked at.
 */
uint32_t remote_find(pid_t pid, const int *fds, uint32_t count, int *ret_remote);

#endif
