/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as people write and read them. */
#ifndef VMSWAP_TOOLS_VMSWAPCTL_UNITS_H
#define VMSWAP_TOOLS_VMSWAPCTL_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 4096, 64K, 64KiB, 1.5G … in powers of 1024. False when it is not a size above 0. */
bool units_parse_size(const char *text, uint64_t *ret_bytes);
/* An integer of 1 to INT32_MAX: a pid, a job, a count. */
bool units_parse_count(const char *text, uint64_t *ret_count);
/* Seconds, 0 to @max_s, with a fraction if need be. */
bool units_parse_seconds(const char *text, double max_s, double *ret_seconds);

#define UNITS_BYTES 32

/* "0", "12 KiB", "1.5 GiB". Return @text, of UNITS_BYTES. */
const char *units_size(char *text, uint64_t bytes);
/* "12 us", "3.4 ms", "1.20 s". */
const char *units_time_us(char *text, double us);
/* "0:07", "12:34", "2:03:04". */
const char *units_clock(char *text, uint64_t seconds);

#endif
