/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a recording of faults as a file (ctl/trace_format.h). Blocking. */
#ifndef VMSWAP_CTL_TRACE_FILE_H
#define VMSWAP_CTL_TRACE_FILE_H

#include <stdint.h>

struct recording;

/* A new file of mode 0600: its descriptor. -EEXIST when anything has that name, -errno. */
int trace_file_create(const char *path);
/* Writes @recording of a VM of @pages pages; takes @fd over. -errno: what is there is no trace. */
int trace_file_write(int fd, const struct recording *recording, uint64_t pages);

#endif
