/* SPDX-License-Identifier: Apache-2.0 */
/* What libvmswap knows of its own process: userfaultfds, and whether one of them is on a range. */
#ifndef VMSWAP_CTL_CLIENT_VMSWAP_MEMORY_H
#define VMSWAP_CTL_CLIENT_VMSWAP_MEMORY_H

#include <stdint.h>

/*
 * A userfaultfd of this process, O_CLOEXEC | O_NONBLOCK, that also serves accesses by the kernel;
 * the handshake is the daemon's. -EPERM, -EMFILE…
 */
int memory_userfaultfd(void);

/*
 * 1 when a userfaultfd is registered anywhere in [address, address + size): then closing the last
 * copy of it would make missing pages zeros. 0 when not; -errno when it cannot be told.
 */
int memory_is_registered(uint64_t address, uint64_t size_bytes);

#endif
