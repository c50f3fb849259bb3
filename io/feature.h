/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Optional features of the kernel by name, and a mask to do without: so that what each of them is
 * replaced by can be tried on a kernel that has them all.
 *
 * The mask is the process's. It is set before the first probe and before any thread that asks, and
 * read by the probes alone: a feature that is masked looks as if the kernel lacked it.
 */
#ifndef VMSWAP_IO_FEATURE_H
#define VMSWAP_IO_FEATURE_H

#include <stdbool.h>
#include <stdint.h>

/* Beside enum uffd_feature, in the same word. */
enum feature {
	FEATURE_PAGEMAP_SCAN = 1u << 8, /* the ioctl of /proc/PID/pagemap (6.7) */
	FEATURE_IO_URING = 1u << 9,	/* else threads do what it does (io/blocking.h) */
	FEATURE_SHORT_SLICE = 1u << 10, /* slices of 0.1 ms for shards and punchers (6.12) */
};

/* The bit of a feature by its name, 0 when there is none of that name. */
uint32_t feature_by_name(const char *name);
/* The name of the @index-th feature and its bit; NULL behind the last one. */
const char *feature_name(uint32_t index, uint32_t *ret_bit);

/* Adds to the mask. Set-up thread. */
void feature_disable(uint32_t bits);
bool feature_is_disabled(uint32_t bit);
/* @offered without what is masked, and without what is of no use then. */
uint32_t feature_allowed(uint32_t offered);

#endif
