/* SPDX-License-Identifier: Apache-2.0 */
/* Whether we may trace a process, and which setting of the host says no. Changes nothing. */
#ifndef VMSWAP_CTL_PERMIT_H
#define VMSWAP_CTL_PERMIT_H

#include <sys/types.h>

struct peer;
struct problem;

/*
 * 0, or a refusal: -EPERM (Yama, capability, seccomp that cannot be suspended, a security module),
 * -EBUSY (traced by somebody else), -ESRCH.
 */
int permit_check(pid_t pid, struct problem *problem);
/*
 * Whether @caller might trace the process itself: same user and group throughout, dumpable, no
 * capability that the caller lacks, Yama; or CAP_SYS_PTRACE. 0, -EPERM with reason "caller",
 * -ESRCH.
 */
int permit_check_caller(const struct peer *caller, pid_t pid, struct problem *problem);
/* The same for a process that asked for itself: it only has to be the caller's still. */
int permit_check_own(const struct peer *caller, pid_t pid, struct problem *problem);
/* After ptrace(2) refused @tid of @pid: the reason in words; never 0. */
int permit_explain(pid_t pid, pid_t tid, struct problem *problem);

#endif
