/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's life: what a predecessor left, hardening, engine, control thread, orderly end.
 */
#ifndef VMSWAP_CTL_DAEMON_H
#define VMSWAP_CTL_DAEMON_H

struct config;

/*
 * Serves until SIGTERM; the process's exit status. @supervisor_fd is the socket of the supervisor
 * (keeper.h), which is told when the control socket answers; -1: there is none.
 */
int daemon_run(const struct config *config, int supervisor_fd);

#endif
