/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmswapctl rescue: no worker stays alive, so the supervisor starts its program once more for this
 * alone. One thread brings the memory of all VMs back, lets each go that is complete, and ends;
 * with the last one the supervisor ends, too. What cannot be brought back stays held: rescue can be
 * run again, and so can a worker.
 */
#ifndef VMSWAP_CTL_RESCUE_RESCUE_H
#define VMSWAP_CTL_RESCUE_RESCUE_H

#include <stdint.h>

struct config;

/* In SIGUSR2's value (sigqueue(3)), and added to HANDOVER_RESCUE. */
#define RESCUE_FORCED 1u /* do not ask first whether the memory fits into RAM */
#define RESCUE_POISON 2u /* give up what the store does not give: an error in the guest */
#define RESCUE_FLAGS  (RESCUE_FORCED | RESCUE_POISON)

/* The process's exit status: EXIT_SUCCESS when the report has its last word. */
int rescue_run(const struct config *config, int supervisor_fd, uint32_t flags);

#endif
