/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in the user keyring of the kernel (keyrings(7)): in memory that is never swapped, and
 * there as long as the machine runs, whether we do or not. Control threads. -ENOSYS, -EPERM: a
 * kernel or a container without keyrings.
 */
#ifndef VMSWAP_CTL_KEYRING_H
#define VMSWAP_CTL_KEYRING_H

#include <stddef.h>

/* In place of what has that name. */
int keyring_keep(const char *name, const void *secret, size_t size);
/* -ENOKEY: there is none; -EMSGSIZE: not of that size. */
int keyring_find(const char *name, void *ret_secret, size_t size);
/* Gone for good, if it was there. */
void keyring_forget(const char *name);

#endif
