/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/keyring.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <linux/keyctl.h>

#include "queue/base/err.h"

#define TYPE "user"
/* linux/key.h is not for programs: the possessor may all, the user view, read, search, change. */
#define RIGHTS 0x3f1f0000u

static long find(const char *name)
{
	/* @control keyctl */
	return errno_of(syscall(
		SYS_keyctl, (long)KEYCTL_SEARCH, (long)KEY_SPEC_USER_KEYRING, TYPE, name, 0L));
}

int keyring_keep(const char *name, const void *secret, size_t size)
{
	const long key = errno_of(
		/* @control add_key */
		syscall(SYS_add_key, TYPE, name, secret, size, (long)KEY_SPEC_USER_KEYRING));

	if (key < 0)
		return (int)key;
	/* A later process possesses it through no keyring of its own: it is let in as the user. */
	/* @control keyctl */
	return (int)errno_of(syscall(SYS_keyctl, (long)KEYCTL_SETPERM, key, (long)RIGHTS));
}

int keyring_find(const char *name, void *ret_secret, size_t size)
{
	const long key = find(name);
	long length;

	if (key < 0)
		return (int)key;
	/* @unfiltered keyctl */
	length = errno_of(syscall(SYS_keyctl, (long)KEYCTL_READ, key, ret_secret, size));
	if (length < 0)
		return (int)length;
	return (size_t)length == size ? 0 : -EMSGSIZE;
}

void keyring_forget(const char *name)
{
	const long key = find(name);

	if (key >= 0)
		/* @control keyctl */
		(void)syscall(SYS_keyctl, (long)KEYCTL_UNLINK, key, (long)KEY_SPEC_USER_KEYRING);
}
