/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3) without libsystemd: one datagram to $NOTIFY_SOCKET. */
#ifndef VMSWAP_CTL_NOTIFY_H
#define VMSWAP_CTL_NOTIFY_H

/* Sends @state ("READY=1", "STOPPING=1", "STATUS=…"). 0 also when nobody listens; -errno. */
int notify_send(const char *state);

#endif
