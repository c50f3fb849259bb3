/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmswap-guest: memory like a VM's, in use like a VM's, checked all the time. See options.c for
 * what it can do.
 *
 *   leader ── fork ──► other processes (each with a mapping of its own)
 *     │  waits for signals, prints a line a second, ends it
 *     └── threads of each process: workers, a direct reader, one that sleeps
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/client/vmswap.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "tools/vmswap-guest/confine.h"
#include "tools/vmswap-guest/crew.h"
#include "tools/vmswap-guest/direct.h"
#include "tools/vmswap-guest/options.h"
#include "tools/vmswap-guest/report.h"

struct run {
	struct guest_options options;
	struct crew crew;
	struct vmswap *vmswap; /* NULL: not attached through the library */
	uint32_t child_count;
	pid_t children[GUEST_PROCESSES_MAX];
	uint64_t begin_ns;
	uint64_t reported_operations;
};

static struct progress *progress_of(struct run *run)
{
	return run->crew.progress;
}

static bool has_gone_wrong(struct run *run)
{
	return atomic_load(&progress_of(run)->bad_pages) > 0 ||
	       atomic_load(&progress_of(run)->has_failed);
}

/* The signals that steer are only ever taken by sigtimedwait(), in the leader. */
static void block_signals(sigset_t *ret_set)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	*ret_set = set;
}

static int open_memory(struct run *run)
{
	const struct guest_options *options = &run->options;
	struct crew *crew = &run->crew;
	int rc;

	rc = memory_open(
		options->size_bytes, options->anonymous, options->processes > 1, &crew->memory);
	if (rc < 0)
		return rc;
	crew->work_pages = crew->memory.pages;
	if (options->direct_io)
		crew->work_pages -= direct_window_pages(crew->memory.pages);
	if (options->direct_io && crew->work_pages == crew->memory.pages)
		return -ENOSPC;
	crew->hot_pages = MAX(1u, crew->work_pages * options->working_set_percent / 100);
	crew->options = options;
	crew->progress = progress_new();
	return crew->progress ? 0 : -ENOMEM;
}

static int open_direct_reader(struct run *run)
{
	int rc;

	if (!run->options.direct_io)
		return 0;
	rc = direct_open(run->options.direct_io, &run->crew.memory, run->options.json,
		&run->crew.direct_reader);
	if (rc < 0)
		report_error("--direct-io %s: %s", run->options.direct_io, strerror(-rc));
	return rc;
}

/* A process beside the leader: never returns. Closes @started once it maps and uses the memory. */
_Noreturn static void child_run(struct run *run, uint32_t index, int started)
{
	struct crew *crew = &run->crew;
	int rc;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	crew->index = index;
	/* Every other one goes on with the mapping made before the fork. */
	rc = index % 2 == 1 ? memory_map_again(&crew->memory) : 0;
	if (rc == 0)
		rc = crew_start(crew);
	if (rc < 0) {
		report_error("process %u: %s", index, strerror(-rc));
		atomic_store(&crew->progress->has_failed, true);
		atomic_store(&crew->progress->must_stop, true);
	}
	close_fd(started);
	crew_join(crew);
	_exit(rc < 0 ? 1 : 0);
}

static int fork_process(struct run *run, uint32_t index)
{
	int started[2];
	char none;
	pid_t pid;

	if (pipe2(started, O_CLOEXEC) < 0)
		return -errno;
	pid = errno_of(fork());
	if (pid == 0) {
		close_fd(started[0]);
		child_run(run, index, started[1]);
	}
	close_fd(started[1]);
	/* Or it has died, which is seen later. */
	while (pid > 0 && read(started[0], &none, sizeof(none)) < 0 && errno == EINTR)
		;
	close_fd(started[0]);
	if (pid < 0)
		return pid;
	run->children[run->child_count++] = pid;
	return 0;
}

static int fork_processes(struct run *run)
{
	int rc = 0;

	for (uint32_t i = 1; rc == 0 && i < run->options.processes; i++)
		rc = fork_process(run, i);
	return rc;
}

static void wait_for_children(struct run *run)
{
	for (uint32_t i = 0; i < run->child_count; i++) {
		int status = 0;

		while (waitpid(run->children[i], &status, 0) < 0 && errno == EINTR)
			;
		if (status != 0) {
			report_error("process %d ended with status %#x", (int)run->children[i],
				(unsigned int)status);
			atomic_store(&progress_of(run)->has_failed, true);
		}
	}
	run->child_count = 0;
}

static int attach(struct run *run)
{
	const struct vmswap_region region = {.memfd = run->crew.memory.memfd,
		.size_bytes = run->options.size_bytes,
		.address = run->crew.memory.base};
	const struct vmswap_config config = {.socket = run->options.socket,
		.name = run->options.name,
		.regions = &region,
		.region_count = 1};
	struct vmswap_error error;
	int rc;

	if (!run->options.attach)
		return 0;
	rc = vmswap_attach(&config, &run->vmswap, &error);
	if (rc < 0)
		report_error("cannot attach: %s", error.text);
	return rc;
}

static void report_ready(struct run *run)
{
	const struct crew *crew = &run->crew;

	if (run->options.json) {
		report_json(json_pack("{s:s, s:i, s:I}", "status", "READY", "pid", (int)getpid(),
			"pages", (json_int_t)crew->memory.pages));
		return;
	}
	report_line("READY pid=%d pages=%" PRIu64 " address=%p", (int)getpid(), crew->memory.pages,
		(void *)crew->memory.base);
}

static void report_second(struct run *run)
{
	struct progress *progress = progress_of(run);
	const uint64_t operations = atomic_load(&progress->operations);
	const uint64_t stall_us = atomic_exchange(&progress->stall_ns, 0) / NS_PER_US;
	const uint64_t pages = operations - run->reported_operations;

	run->reported_operations = operations;
	if (run->options.quiet || has_gone_wrong(run))
		return;
	if (run->options.json)
		report_json(json_pack("{s:s, s:I, s:I}", "status", "OK", "pages", (json_int_t)pages,
			"max_stall_us", (json_int_t)stall_us));
	else
		report_line("OK pages=%" PRIu64 " max_stall_us=%" PRIu64, pages, stall_us);
}

static void verify_now(struct run *run)
{
	const uint64_t begin_ns = clock_ns();
	const uint64_t bad = crew_verify_all(&run->crew, false);
	const uint64_t time_ms = (clock_ns() - begin_ns) / NS_PER_MS;

	if (run->options.json)
		report_json(json_pack("{s:s, s:I, s:I, s:I}", "status", "VERIFIED", "pages",
			(json_int_t)run->crew.work_pages, "bad", (json_int_t)bad, "ms",
			(json_int_t)time_ms));
	else
		report_line("VERIFIED pages=%" PRIu64 " bad=%" PRIu64 " ms=%" PRIu64,
			run->crew.work_pages, bad, time_ms);
}

static bool is_over(struct run *run)
{
	const struct guest_options *options = &run->options;
	struct progress *progress = progress_of(run);

	if (atomic_load(&progress->must_stop))
		return true;
	if (options->seconds && clock_ns() - run->begin_ns >= options->seconds * NS_PER_S)
		return true;
	return options->rounds &&
	       atomic_load(&progress->operations) / run->crew.hot_pages >= options->rounds;
}

/* One turn of at most a second: a signal, or the line that is due. */
static void wait_a_second(struct run *run, const sigset_t *signals, uint64_t *due_ns)
{
	const uint64_t now_ns = clock_ns();
	const uint64_t left_ns = *due_ns > now_ns ? *due_ns - now_ns : 0;
	const struct timespec timeout = {
		.tv_sec = (time_t)(left_ns / NS_PER_S), .tv_nsec = (long)(left_ns % NS_PER_S)};
	const int signal_number = sigtimedwait(signals, NULL, &timeout);

	if (signal_number == SIGUSR1)
		verify_now(run);
	else if (signal_number > 0)
		atomic_store(&progress_of(run)->must_stop, true);
	if (clock_ns() < *due_ns)
		return;
	report_second(run);
	/* What a verification took is not made up for: lines of no pages would look like stalls. */
	*due_ns = MAX(*due_ns, clock_ns() - NS_PER_S) + NS_PER_S;
}

static void report_summary(struct run *run, uint64_t time_ns)
{
	struct progress *progress = progress_of(run);

	report_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "status",
		has_gone_wrong(run) ? "BAD" : "DONE", "pages", (json_int_t)run->crew.memory.pages,
		"operations", (json_int_t)atomic_load(&progress->operations), "bad_pages",
		(json_int_t)atomic_load(&progress->bad_pages), "discarded_pages",
		(json_int_t)atomic_load(&progress->discarded_pages), "direct_reads",
		(json_int_t)atomic_load(&progress->direct_reads), "worst_stall_us",
		(json_int_t)(atomic_load(&progress->worst_stall_ns) / NS_PER_US), "time_ms",
		(json_int_t)(time_ns / NS_PER_MS)));
}

static void detach(struct run *run)
{
	struct vmswap_error error;

	if (!run->vmswap)
		return;
	if (vmswap_detach(run->vmswap, &error) < 0) {
		report_error("cannot detach: %s", error.text);
		atomic_store(&progress_of(run)->has_failed, true);
		return;
	}
	run->vmswap = NULL;
	(void)crew_verify_all(&run->crew, true);
}

static int set_up(struct run *run)
{
	int rc = open_memory(run);

	if (rc < 0) {
		report_error("no guest memory: %s", strerror(-rc));
		return rc;
	}
	rc = open_direct_reader(run);
	if (rc < 0)
		return rc;
	crew_fill(&run->crew);
	rc = run->options.seccomp ? confine_process() : 0;
	if (rc < 0)
		report_error("--seccomp: %s", strerror(-rc));
	if (rc == 0)
		rc = attach(run);
	return rc;
}

static int work(struct run *run, const sigset_t *signals)
{
	uint64_t due_ns;
	int rc = fork_processes(run);

	if (rc == 0)
		rc = crew_start(&run->crew);
	if (rc < 0) {
		report_error("cannot start: %s", strerror(-rc));
		atomic_store(&progress_of(run)->has_failed, true);
		atomic_store(&progress_of(run)->must_stop, true);
	}
	report_ready(run);
	run->begin_ns = clock_ns();
	due_ns = run->begin_ns + NS_PER_S;
	while (!is_over(run))
		wait_a_second(run, signals, &due_ns);
	atomic_store(&progress_of(run)->must_stop, true);
	crew_join(&run->crew);
	wait_for_children(run);
	return rc;
}

int main(int argc, char **argv)
{
	static struct run run;
	sigset_t signals;
	int rc;

	rc = options_parse(argc, argv, &run.options);
	if (rc >= 0)
		return rc;
	block_signals(&signals);
	if (set_up(&run) < 0)
		return 1;
	(void)work(&run, &signals);
	/* A process that died may hold pages for ever. */
	if (!has_gone_wrong(&run))
		(void)crew_verify_all(&run.crew, true);
	detach(&run);
	report_summary(&run, clock_ns() - run.begin_ns);
	direct_close(run.crew.direct_reader);
	return has_gone_wrong(&run) ? 1 : 0;
}
