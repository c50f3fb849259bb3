/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's life: hardening, engine, control thread, orderly end.
 */
#ifndef VMSWAP_CTL_DAEMON_H
#define VMSWAP_CTL_DAEMON_H

struct config;

/*
 * Serves until SIGTERM; the process's exit status. One byte into @ready_fd, which is closed then,
 * says that the socket answers; -1: nobody waits, and the terminal stays.
 */
int daemon_run(const struct config *config, int ready_fd);

#endif
