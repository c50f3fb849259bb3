/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name for a store that was made without one, so that it outlives its processes: of the form
 * .vmswapd-BOOT-INODE, where BOOT are the first letters of the kernel's boot id. After a reboot
 * nobody needs what lies there.
 */
#ifndef VMSWAP_IO_STORENAME_H
#define VMSWAP_IO_STORENAME_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Links the nameless file @fd into @directory and says its path. -errno; -ENOENT: the file system
 * made it without O_TMPFILE; -ENAMETOOLONG. Set-up threads.
 */
int storename_link(int fd, const char *directory, char *ret_path, size_t size);
/* Whether @path is of that form. */
bool storename_is_ours(const char *path);
/* Removes what earlier boots left in @directory. Set-up threads. */
void storename_sweep(const char *directory);

#endif
