/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives up what the daemon does not use. Capabilities belong to threads: those that start later
 * inherit, those that run already keep what they have. Hence two steps.
 */
#ifndef VMSWAP_CTL_CONFINE_H
#define VMSWAP_CTL_CONFINE_H

#include <stdint.h>

/* Before the first thread: nothing is left that starting and serving do not need. 0 or -errno. */
int confine_process(void);
/*
 * At the end of start-up, by the control thread, before the first worker of a VM: nothing is left
 * that serving does not need, and no program that is executed can get it back. 0 or -errno.
 */
int confine_worker(void);
/* By the guard of forked children, which needs no right. 0 or -errno. */
int confine_guard(void);
/* As the second step leaves it; for tests and vmswapd(8). */
uint64_t confine_capabilities(void);

#endif
