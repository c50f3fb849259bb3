/* SPDX-License-Identifier: Apache-2.0 */
/* userfaultfds made in a stopped process and brought here. On the tracing thread. */
#ifndef VMSWAP_CTL_INJECT_UFFD_H
#define VMSWAP_CTL_INJECT_UFFD_H

#include <stdint.h>

struct problem;
struct tracee;

/* As inject_uffds(). On error everything that was made is closed, here and there. */
int inject_uffd_make(struct tracee *tracee, uint32_t count, int *ret_fds, int *ret_remote,
	struct problem *problem);

#endif
