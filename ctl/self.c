/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/self.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

static void raise_limit(int resource, rlim_t wanted)
{
	struct rlimit limit;

	if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
		return;
	limit.rlim_cur = wanted;
	limit.rlim_max = MAX(limit.rlim_max, wanted);
	if (setrlimit((__rlimit_resource_t)resource, &limit) == 0)
		return;
	(void)getrlimit((__rlimit_resource_t)resource, &limit);
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit((__rlimit_resource_t)resource, &limit);
}

void self_harden(void)
{
	const struct rlimit no_core = {0, 0};

	(void)umask(077); /* @unfiltered umask */
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* @unfiltered prctl */
	(void)signal(SIGPIPE, SIG_IGN);
}

void self_raise_files(uint32_t count)
{
	raise_limit(RLIMIT_NOFILE, count);
}

void self_stay_in_memory(void)
{
	raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0) /* @unfiltered mlockall */
		log_warning(
			"the daemon's memory cannot be locked (%s): under memory pressure guests "
			"may wait for the kernel's own swap",
			strerror(errno));
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0) /* @unfiltered prctl */
		log_warning(
			"no PR_SET_IO_FLUSHER (%s): under memory pressure the daemon may wait for "
			"itself",
			strerror(errno));
}

void self_spare_from_oom(void)
{
	CLEANUP_FD int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1000", 5) < 0)
		log_debug("oom_score_adj stays as it is: %s", strerror(errno));
}

void self_leave_terminal(void)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	(void)dup2(null, STDIN_FILENO); /* @control dup2 */
	(void)dup2(null, STDOUT_FILENO);
	(void)dup2(null, STDERR_FILENO);
	(void)close(null);
}
