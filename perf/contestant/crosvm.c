/* SPDX-License-Identifier: Apache-2.0 */
/* crosvm-style swap as a contestant: what crosvm's main process does. */
#include "perf/contestant/crosvm.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "perf/contestant/contestant.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

static int start_monitor(struct contestant *self, struct crosvm *crosvm)
{
	int error;

	crosvm->file = errno_of(
		open(self->setup.directory, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
	if (crosvm->file < 0)
		return contestant_fail(self, crosvm->file, "no unnamed file in %s: %s",
			self->setup.directory, strerror(-crosvm->file));
	/* Registered by the monitor, for as long as swap is enabled. */
	error = client_userfaultfd(
		self->client, UFFD_FEATURE_MISSING_SHMEM, 0, false, &crosvm->uffd);
	if (error < 0)
		return contestant_fail(self, error, "no userfaultfd: %s", strerror(-error));
	error = handler_start(self, crosvm_monitor_main, &crosvm->handler);
	(void)close(crosvm->uffd);
	crosvm->uffd = -1;
	return error;
}

static int open_crosvm(struct contestant *self)
{
	struct crosvm *crosvm;

	if (self->setup.client.is_anonymous)
		return contestant_fail(self, -EINVAL, "this peer serves shared memory");
	if (self->setup.option && strcmp(self->setup.option, CROSVM_OPTION_RANDOM) != 0)
		return contestant_fail(
			self, -EINVAL, "there is no crosvm-style \"%s\"", self->setup.option);
	crosvm = calloc(1, sizeof(*crosvm));
	if (!crosvm)
		return contestant_fail(self, -ENOMEM, "no memory");
	self->state = crosvm;
	crosvm->file = -1;
	crosvm->uffd = -1;
	return start_monitor(self, crosvm);
}

static int run(struct contestant *self, enum crosvm_command command, const char *name)
{
	const struct crosvm *crosvm = self->state;
	struct handler_answer answer;
	const int error = handler_call(&crosvm->handler, command, &answer);

	if (error < 0)
		return contestant_fail(self, error, "%s: %s", name, strerror(-error));
	self->moved_bytes = answer.pages * PAGE_BYTES;
	self->moved_ns = answer.elapsed_ns;
	self->freeze_ns = 0;
	return 0;
}

/*
 * Until every thread is stopped: that is when a parent is told. crosvm looks at each thread's state
 * every 50 ms instead; this favours the peer.
 */
static int freeze(pid_t pid)
{
	siginfo_t info;

	if (kill(pid, SIGSTOP) < 0)
		return -errno;
	/* Whether it ended is left for who reaps it. */
	if (waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT) < 0)
		return -errno;
	return info.si_code == CLD_STOPPED ? 0 : -ESRCH;
}

static int stage(struct contestant *self)
{
	const pid_t pid = client_pid(self->client);
	const uint64_t begin_ns = clock_ns();
	int error = freeze(pid);

	if (error < 0)
		error = contestant_fail(
			self, error, "the client is not stopped: %s", strerror(-error));
	else
		error = run(self, CROSVM_ENABLE, "enable");
	(void)kill(pid, SIGCONT);
	self->freeze_ns = clock_ns() - begin_ns;
	self->moved_ns = self->freeze_ns;
	return error;
}

static int trim(struct contestant *self)
{
	return run(self, CROSVM_TRIM, "trim");
}

/*
 * crosvm leaves what it wrote in the page cache, dirty, so that nothing would come from the disk.
 * It is written and dropped here, outside the time that counts, and not by the monitor, which would
 * not serve faults meanwhile.
 */
static int empty_cache(struct contestant *self)
{
	const struct crosvm *crosvm = self->state;
	int error;

	if (fdatasync(crosvm->file) < 0)
		return contestant_fail(self, -errno, "swap file: %s", strerror(errno));
	error = -posix_fadvise(crosvm->file, 0, 0, POSIX_FADV_DONTNEED);
	if (error < 0)
		return contestant_fail(self, error, "swap file: %s", strerror(-error));
	return 0;
}

static int evict(struct contestant *self)
{
	const int error = run(self, CROSVM_SWAP_OUT, "swap-out");

	return error < 0 ? error : empty_cache(self);
}

static int restore(struct contestant *self)
{
	return run(self, CROSVM_DISABLE, "disable");
}

static uint64_t cpu_ns(struct contestant *self)
{
	const struct crosvm *crosvm = self->state;

	return contestant_process_cpu_ns(crosvm->handler.pid);
}

static void close_crosvm(struct contestant *self)
{
	struct crosvm *crosvm = self->state;

	if (!crosvm)
		return;
	handler_stop(&crosvm->handler);
	close_fd(crosvm->file);
	free(crosvm);
	self->state = NULL;
}

const struct contestant_operations contestant_crosvm = {
	.name = "crosvm-style",
	.open = open_crosvm,
	.stage = stage,
	.trim = trim,
	.evict = evict,
	.restore = restore,
	.cpu_ns = cpu_ns,
	.close = close_crosvm,
};
