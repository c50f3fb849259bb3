/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The zap channel of a VMM that attached itself with the client library: a SOCK_SEQPACKET socket on
 * which its helper thread unmaps ranges that we ask for. Wire format: README.md, vm.attach_self.
 */
#ifndef VMSWAP_CTL_CHANNEL_H
#define VMSWAP_CTL_CHANNEL_H

#include <stdint.h>

/*
 * Has the range unmapped and waits for the answer: 0 or its -errno. -ETIMEDOUT, -ECONNRESET (the
 * helper is gone), -EBADMSG. One caller at a time; worker threads.
 */
int channel_zap(int channel, uint64_t address, uint64_t size_bytes);

#endif
