/* SPDX-License-Identifier: Apache-2.0 */
/* Small texts in /proc, /sys and cgroups, read and written in one go. -errno. */
#ifndef VMSWAP_PERF_CONTESTANT_TEXT_FILE_H
#define VMSWAP_PERF_CONTESTANT_TEXT_FILE_H

#include <stddef.h>

/* The first @size - 1 bytes at most, without the newline at the end. */
int text_file_read(const char *path, char *ret_text, size_t size);
int text_file_write(const char *path, const char *text);

#endif
