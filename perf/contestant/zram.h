/* SPDX-License-Identifier: Apache-2.0 */
/* A zram device of our own: a block device, /dev/zramN, that keeps what is written in RAM,
 * compressed. Devices of others are left alone. */
#ifndef VMSWAP_PERF_CONTESTANT_ZRAM_H
#define VMSWAP_PERF_CONTESTANT_ZRAM_H

#include <stdint.h>

#define ZRAM_PATH_PREFIX "/dev/zram"

/*
 * Loads the module if need be. -ENODEV: the kernel has no zram; -EINVAL: zram does not have the
 * @algorithm; -errno.
 */
int zram_make(const char *algorithm, uint64_t size_bytes, uint32_t *ret_number);
/* Waits for others to close it (udev looks at new devices), for a bounded time. -errno */
int zram_remove(uint32_t number);

#endif
