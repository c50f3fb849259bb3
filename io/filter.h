/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls a thread may make (seccomp). What a thread of each role calls is said beside
 * the calls, in comments of this form, from which the build makes the lists:
 *
 *     result = fallocate(punch->fd, …); @disk fallocate           (in a comment of its own)
 *
 * @unfiltered is for code that no filtered thread runs: starts, tests, other processes.
 */
#ifndef VMSWAP_IO_FILTER_H
#define VMSWAP_IO_FILTER_H

#include <stdbool.h>
#include <stdint.h>

enum filter_role {
	FILTER_SHARD,	/* serves faults */
	FILTER_DISK,	/* punches, reads and writes for a shard */
	FILTER_CONTROL, /* everything else in the worker, and what that executes */
	FILTER_ROLES,
};

/* What becomes of a call that is not in the list. */
enum filter_mode {
	FILTER_OFF,  /* no filter */
	FILTER_LOG,  /* it is made, and the kernel logs it */
	FILTER_DENY, /* ENOSYS, as of a kernel that lacks it, and the kernel logs it */
	FILTER_KILL, /* SIGSYS to the process */
	FILTER_MODES,
};

/* "off", "log", "deny", "kill". */
const char *filter_mode_name(enum filter_mode mode);
/* FILTER_MODES when there is none of that name. */
enum filter_mode filter_mode_by_name(const char *name);

/*
 * Of the filters that are installed from now on; before it is called, none are. Before the first
 * thread. -EOPNOTSUPP: the kernel has no filters, or this build's sanitizer makes calls of its
 * own; then none are installed.
 */
int filter_set_mode(enum filter_mode mode);
enum filter_mode filter_mode(void);

/*
 * For the calling thread, and those it starts, for good; with it PR_SET_NO_NEW_PRIVS. Async-signal
 * safe. 0 or -errno.
 */
int filter_install(enum filter_role role);
/* As the filter sees it; of mmap and mprotect: without PROT_EXEC. */
bool filter_allows(enum filter_role role, uint32_t call);

#endif
