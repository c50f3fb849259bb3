/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3) without libsystemd: one datagram to $NOTIFY_SOCKET. */
#ifndef VMSWAP_CTL_NOTIFY_H
#define VMSWAP_CTL_NOTIFY_H

/* Sends @state ("READY=1", "STOPPING=1", "STATUS=…"). 0 also when nobody listens; -errno. */
int notify_send(const char *state);
/* The same with a descriptor beside it, which stays the caller's; -1: none. */
int notify_send_fd(const char *state, int fd);

#endif
