/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/permit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/capability.h>

#include "ctl/injector.h"
#include "ctl/peer.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* kernel.yama.ptrace_scope: nobody may trace, not even with CAP_SYS_PTRACE, until the next boot. */
#define YAMA_NO_ATTACH '3'
/* Deeper trees of processes are no trees of a VMM. */
#define ANCESTORS_MAX 64

static bool has_capability(const struct procfs_status *status, unsigned int capability)
{
	return (status->capabilities >> capability) & 1;
}

static int check_tracer(pid_t pid, pid_t tid, struct problem *problem)
{
	struct procfs_status status;
	int error = procfs_status(pid, tid, &status);

	if (error)
		return problem_set(problem, error, "process-gone", "process %d has ended", pid);
	if (status.tracer != 0)
		return problem_set(problem, -EBUSY, "already-traced",
			"process %d is traced by process %d (a debugger, or another injection); "
			"end that first",
			pid, status.tracer);
	return 0;
}

static int check_yama(pid_t pid, struct problem *problem)
{
	char text[16];

	/* No such file: the kernel is built without Yama. */
	if (procfs_read("/proc/sys/kernel/yama/ptrace_scope", text, sizeof(text)) <= 0)
		return 0;
	if (text[0] != YAMA_NO_ATTACH)
		return 0;
	return problem_set(problem, -EPERM, "yama",
		"process %d cannot be traced: kernel.yama.ptrace_scope is 3, which forbids it to "
		"everybody until the next boot; configure 2 or less and reboot, or use a VMM with "
		"libvmswap",
		pid);
}

/* The check of ptrace(2) itself, made by an open(2) that has no effect. */
static int check_access(pid_t pid, const struct procfs_status *own, struct problem *problem)
{
	char path[PROCFS_PATH_BYTES];
	CLEANUP_FD int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return 0;
	if (errno == ENOENT || errno == ESRCH)
		return problem_set(problem, -ESRCH, "process-gone", "process %d has ended", pid);
	if (!has_capability(own, CAP_SYS_PTRACE))
		return problem_set(problem, -EPERM, "capability",
			"process %d belongs to another user, is not dumpable (PR_SET_DUMPABLE) or "
			"is "
			"guarded by kernel.yama.ptrace_scope; run vmswapd as root or give it "
			"CAP_SYS_PTRACE",
			pid);
	return problem_set(problem, -EPERM, "ptrace-forbidden",
		"tracing process %d is forbidden (%s) although we have CAP_SYS_PTRACE: a security "
		"module "
		"(AppArmor, SELinux) or another user namespace; allow ptrace there",
		pid, strerror(errno));
}

/* The first thread found with a filter. */
static int visit_seccomp(void *context, int tid)
{
	const pid_t *pid = context;
	struct procfs_status status;

	return procfs_status(*pid, tid, &status) == 0 && status.seccomp != 0;
}

static bool has_seccomp(pid_t pid)
{
	char path[PROCFS_PATH_BYTES];

	(void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return procfs_each(path, visit_seccomp, &pid) == 1;
}

static int check_seccomp(pid_t pid, const struct procfs_status *own, struct problem *problem)
{
	bool may_suspend = has_capability(own, CAP_SYS_ADMIN) && own->seccomp == 0;

	if (may_suspend || !has_seccomp(pid))
		return 0;
	return problem_set(problem, -EPERM, "seccomp",
		"process %d has a seccomp filter that may kill it for our calls, and it cannot be "
		"suspended: %s",
		pid,
		own->seccomp ? "vmswapd itself runs under seccomp (SystemCallFilter= of its unit); "
			       "remove that"
			     : "vmswapd needs CAP_SYS_ADMIN for that");
}

int permit_check(pid_t pid, struct problem *problem)
{
	struct procfs_status own;
	/* What counts is what the process that traces may do. */
	int error = procfs_status(injector_pid(), 0, &own);

	ASSERT(pid > 0);
	if (error)
		return problem_set(problem, error, "proc", "/proc cannot be read");
	error = check_yama(pid, problem);
	if (!error)
		error = check_access(pid, &own, problem);
	if (!error)
		error = check_tracer(pid, 0, problem);
	return error ? error : check_seccomp(pid, &own, problem);
}

static bool may_trace_all(const struct peer *caller)
{
	return (caller->capabilities >> CAP_SYS_PTRACE) & 1;
}

static bool is_of(const struct peer *caller, const struct procfs_status *status)
{
	for (size_t i = 0; i < ARRAY_SIZE(status->uids); i++) {
		if (status->uids[i] != caller->uid || status->gids[i] != caller->gid)
			return false;
	}
	return true;
}

/*
 * The kernel gives the files of a process that is not dumpable to root (task_dump_owner()). Of
 * root's own processes that tells nothing: they count as not dumpable.
 */
static bool is_dumpable(const struct procfs_status *status, pid_t pid)
{
	char path[PROCFS_PATH_BYTES];
	struct stat owner;

	(void)snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	return stat(path, &owner) == 0 && owner.st_uid != 0 && owner.st_uid == status->uid;
}

static bool is_ancestor(pid_t ancestor, const struct procfs_status *status)
{
	pid_t pid = status->parent;

	for (int i = 0; i < ANCESTORS_MAX && pid > 0; i++) {
		struct procfs_status above;

		if (pid == ancestor)
			return true;
		if (procfs_status(pid, 0, &above) < 0)
			return false;
		pid = above.parent;
	}
	return false;
}

/* kernel.yama.ptrace_scope 1: only those above may trace; 2: only CAP_SYS_PTRACE. */
static bool does_yama_allow(const struct peer *caller, const struct procfs_status *status)
{
	char text[16];

	if (procfs_read("/proc/sys/kernel/yama/ptrace_scope", text, sizeof(text)) <= 0 ||
		text[0] == '0')
		return true;
	return text[0] == '1' && is_ancestor(caller->pid, status);
}

static const char *caller_refusal(
	const struct peer *caller, const struct procfs_status *status, pid_t pid)
{
	if (!is_of(caller, status))
		return "it does not belong to the caller, user and group throughout";
	if (!procfs_shares_user_ns(pid))
		return "it lives in another user namespace";
	if ((status->permitted & ~caller->capabilities) != 0)
		return "it has capabilities that the caller lacks";
	if (!is_dumpable(status, pid))
		return "it is not dumpable (PR_SET_DUMPABLE), or root's";
	if (!does_yama_allow(caller, status))
		return "kernel.yama.ptrace_scope forbids it to the caller";
	return NULL;
}

static int refuse_caller(
	const struct peer *caller, pid_t pid, const char *why, struct problem *problem)
{
	return problem_set(problem, -EPERM, "caller",
		"user %u may not trace process %d, so vmswapd does not do it for that user: %s; "
		"ask as root",
		(unsigned int)caller->uid, pid, why);
}

/* @why says what speaks against it, or NULL. Who may trace everything is not looked at. */
static int check_as(const struct peer *caller, pid_t pid,
	const char *(*why)(const struct peer *, const struct procfs_status *, pid_t),
	struct problem *problem)
{
	struct procfs_status status;
	const char *refusal;
	int error;

	ASSERT(pid > 0);
	if (may_trace_all(caller))
		return 0;
	error = procfs_status(pid, 0, &status);
	if (error)
		return problem_set(problem, error, "process-gone", "process %d has ended", pid);
	refusal = why(caller, &status, pid);
	return refusal ? refuse_caller(caller, pid, refusal, problem) : 0;
}

int permit_check_caller(const struct peer *caller, pid_t pid, struct problem *problem)
{
	return check_as(caller, pid, caller_refusal, problem);
}

static const char *own_refusal(
	const struct peer *caller, const struct procfs_status *status, pid_t pid)
{
	(void)pid;
	return is_of(caller, status) ? NULL : "it has other credentials than at its connect";
}

int permit_check_own(const struct peer *caller, pid_t pid, struct problem *problem)
{
	return check_as(caller, pid, own_refusal, problem);
}

int permit_explain(pid_t pid, pid_t tid, struct problem *problem)
{
	int error = check_tracer(pid, tid, problem);

	ASSERT(tid > 0);
	if (!error)
		error = permit_check(pid, problem);
	if (error)
		return error;
	return problem_set(problem, -EPERM, "ptrace-forbidden",
		"thread %d of process %d cannot be traced although nothing known forbids it: a "
		"kernel "
		"without CONFIG_CHECKPOINT_RESTORE cannot suspend seccomp; start the VMM with "
		"vmswap-run",
		tid, pid);
}
