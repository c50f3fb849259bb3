/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller may have done to a process is what ptrace(2) would let him do himself. */
#include "ctl/permit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "ctl/peer.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "queue/base/err.h"
#include "tests/support/check.h"

#define NOBODY 65534u
#define SKIP   77

/* A process of that user that waits; @dumpable as of PR_SET_DUMPABLE. */
static pid_t start(uid_t real, uid_t saved, int dumpable)
{
	int ends[2];
	char byte;
	pid_t pid;

	CHECK(pipe(ends) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		CHECK(setresgid(real, real, saved) == 0);
		CHECK(setresuid(real, real, saved) == 0);
		CHECK(prctl(PR_SET_DUMPABLE, dumpable) == 0);
		CHECK(write(ends[1], "", 1) == 1);
		for (;;)
			(void)pause();
	}
	(void)close(ends[1]);
	CHECK(read(ends[0], &byte, 1) == 1);
	(void)close(ends[0]);
	return pid;
}

static void end(pid_t pid)
{
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, NULL, 0) == pid);
}

static bool may(const struct peer *caller, pid_t pid)
{
	struct problem problem = {0};
	int rc = permit_check_caller(caller, pid, &problem);

	if (rc == 0)
		return true;
	CHECK(rc == -EPERM);
	CHECK(strcmp(problem.reason, "caller") == 0);
	CHECK(strstr(problem.text, "may not trace process"));
	return false;
}

/* With kernel.yama.ptrace_scope of 1 a caller needs to be above the process, as we are. */
static struct peer nobody(void)
{
	return (struct peer){.pid = getpid(), .uid = NOBODY, .gid = NOBODY};
}

static void a_caller_may_have_his_own_process_attached(void)
{
	const struct peer caller = nobody();
	pid_t pid = start(NOBODY, NOBODY, 1);

	CHECK(may(&caller, pid));
	CHECK(permit_check_own(&caller, pid, NULL) == 0);
	end(pid);
}

static void another_users_process_is_refused(void)
{
	const struct peer caller = nobody();
	pid_t pid = start(NOBODY - 1, NOBODY - 1, 1);

	CHECK(!may(&caller, pid));
	CHECK(!may(&caller, getpid()));
	CHECK(permit_check_own(&caller, pid, NULL) == -EPERM);
	end(pid);
}

static void a_process_that_can_become_another_user_is_refused(void)
{
	const struct peer caller = nobody();
	pid_t pid = start(NOBODY, NOBODY - 1, 1);

	CHECK(!may(&caller, pid));
	end(pid);
}

static void a_process_that_is_not_dumpable_is_refused(void)
{
	const struct peer caller = nobody();
	pid_t pid = start(NOBODY, NOBODY, 0);

	CHECK(!may(&caller, pid));
	CHECK(permit_check_own(&caller, pid, NULL) == 0); /* it asked itself */
	end(pid);
}

static void root_without_the_capability_gets_nothing_with_more_of_them(void)
{
	const struct peer root = {.pid = getpid()};

	CHECK(!may(&root, getpid()));
}

static void the_capability_is_enough(void)
{
	struct peer caller = nobody();
	pid_t pid = start(NOBODY - 1, NOBODY - 1, 0);

	caller.capabilities = UINT64_C(1) << CAP_SYS_PTRACE;
	CHECK(may(&caller, pid));
	end(pid);
}

static void a_process_that_has_ended_is_gone(void)
{
	const struct peer caller = nobody();
	pid_t pid = start(NOBODY, NOBODY, 1);

	end(pid);
	CHECK(permit_check_caller(&caller, pid, NULL) == -ESRCH);
	CHECK(permit_check_own(&caller, pid, NULL) == -ESRCH);
}

int main(void)
{
	if (geteuid() != 0)
		return SKIP;
	a_caller_may_have_his_own_process_attached();
	another_users_process_is_refused();
	a_process_that_can_become_another_user_is_refused();
	a_process_that_is_not_dumpable_is_refused();
	root_without_the_capability_gets_nothing_with_more_of_them();
	the_capability_is_enough();
	a_process_that_has_ended_is_gone();
	return 0;
}
