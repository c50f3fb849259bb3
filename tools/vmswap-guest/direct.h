/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that writes into guest memory by itself: O_DIRECT reads of 1 to 2 MiB from a file of known
 * content into the last part of guest memory, verified after each read. While a read is in flight
 * the disk holds the physical pages, whatever happens to the page tables: the hazard of design.md
 * 3, rule 1.
 */
#ifndef VMSWAP_TOOLS_DIRECT_H
#define VMSWAP_TOOLS_DIRECT_H

#include <stdbool.h>
#include <stdint.h>

struct direct_reader;
struct guest_memory;
struct progress;

/* How much of a memory of @pages pages the reader takes, at its end. 0: too small. */
uint64_t direct_window_pages(uint64_t pages);
/* Makes @path anew and fills it. -errno (-EINVAL: the file system has no O_DIRECT). */
int direct_open(const char *path, const struct guest_memory *memory, bool as_json,
	struct direct_reader **ret_reader);
void direct_close(struct direct_reader *reader);

/* One read, verified. 0, or -1 when reading failed or data were wrong (said so). One thread. */
int direct_step(struct direct_reader *reader, struct progress *progress);
/* Verifies what the last read into each page brought. Returns the bad ones. */
uint64_t direct_verify(struct direct_reader *reader, struct progress *progress);

#endif
