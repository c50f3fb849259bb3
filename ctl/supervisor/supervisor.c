/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/supervisor/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/config.h"
#include "ctl/notify.h"
#include "ctl/recover.h"
#include "ctl/self.h"
#include "ctl/supervisor/fdstore.h"
#include "ctl/supervisor/launch.h"
#include "ctl/supervisor/state_dir.h"
#include "ctl/supervisor/supervisor_priv.h"
#include "ctl/supervisor/view.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/log.h"
#include "queue/base/probe.h"

/* A start that failed for want of memory or processes may work a little later. */
#define RETRY_MS 100
/* A new program that is not ready by then does not come up. A takeover takes milliseconds. */
#define TRIAL_S 10
/* A guard that is not done by then is stopped, or waits for a CPU: guests wait, too. */
#define GUARD_WAIT_MS 100
/* A SIGTERM is passed on to workers that are ready within so long: later ones are of another story.
 */
#define END_MEMORY_S 30
/* Names that a refusal to end mentions. */
#define NAMES_MENTIONED 8u
/* Our own descriptors beside those that are held. */
#define OWN_FDS 1024u

static void end(struct supervisor *supervisor, int status)
{
	supervisor->has_ended = true;
	supervisor->exit_status = status;
}

/* Something that guests need is here, or was served: there is no giving up. */
static bool must_go_on(const struct supervisor *supervisor)
{
	return supervisor->has_served || store_count_of_guests(&supervisor->store) > 0;
}

static bool is_crash_loop(struct supervisor *supervisor)
{
	const uint64_t now_ns = clock_ns();
	uint64_t *oldest = &supervisor->deaths_ns[supervisor->death_count % SUPERVISOR_DEATHS_MAX];

	*oldest = now_ns;
	supervisor->death_count++;
	if (supervisor->death_count < SUPERVISOR_DEATHS_MAX)
		return false;
	oldest = &supervisor->deaths_ns[supervisor->death_count % SUPERVISOR_DEATHS_MAX];
	return now_ns - *oldest < SUPERVISOR_DEATHS_S * NS_PER_S;
}

static void wait_for_operator(struct supervisor *supervisor)
{
	supervisor->is_waiting = true;
	PROBE(supervisor, waiting);
	(void)notify_send("STATUS=the worker died again and again: guests wait for an operator");
	log_error("the worker died %u times within %u s: no more are started. Nothing is lost: "
		  "%u entries are held, guests wait at the first page that they miss. SIGUSR1 to "
		  "process %d tries again, vmswapctl rescue brings all memory back",
		SUPERVISOR_DEATHS_MAX, SUPERVISOR_DEATHS_S, store_count(&supervisor->store),
		(int)getpid());
}

int supervisor_launch(struct supervisor *supervisor, enum handover_mode mode)
{
	struct supervisor_worker *worker = &supervisor->worker;
	const pid_t pid = launch(
		supervisor->program, supervisor->argv, mode, &worker->pidfd, &worker->socket);

	ASSERT(worker->pid == 0);
	if (pid < 0)
		return (int)pid;
	PROBE(supervisor, launched);
	worker->pid = pid;
	worker->is_ready = false;
	worker->said_bye = false;
	worker->guard_deadline_ns = UINT64_MAX;
	return 0;
}

/* A worker, or another try in a moment, or an end of trying. */
static void start_worker(struct supervisor *supervisor)
{
	const int rc = supervisor_launch(supervisor, supervisor->mode);

	supervisor->retry_ns = UINT64_MAX;
	if (rc == 0)
		return;
	log_error("no worker can be started: %s", strerror(-rc));
	if (!must_go_on(supervisor))
		end(supervisor, EXIT_FAILURE);
	else if (is_crash_loop(supervisor))
		wait_for_operator(supervisor);
	else
		supervisor->retry_ns = clock_ns() + RETRY_MS * NS_PER_MS;
}

static void replace_worker(struct supervisor *supervisor)
{
	supervisor->restarts++;
	start_worker(supervisor);
}

/* Once more, with less of what may be the cause; if that dies as well nothing is left to try. */
static void take_crash_loop(struct supervisor *supervisor)
{
	if (supervisor->mode == HANDOVER_MINIMAL) {
		wait_for_operator(supervisor);
		return;
	}
	supervisor->mode = HANDOVER_MINIMAL;
	supervisor->death_count = 0;
	PROBE(supervisor, minimal);
	replace_worker(supervisor);
	log_error(
		"the worker died %u times within %u s: from now on it runs in minimal mode, which "
		"serves faults, brings memory back and refuses everything else. SIGUSR1 to process "
		"%d, or an upgrade, tries the normal mode again",
		SUPERVISOR_DEATHS_MAX, SUPERVISOR_DEATHS_S, (int)getpid());
}

/* The worker was killed for an upgrade: another program may not die of what this one did. */
static void try_candidate(struct supervisor *supervisor)
{
	supervisor->previous = supervisor->program;
	supervisor->previous_mode = supervisor->mode;
	supervisor->program = take_fd(&supervisor->candidate);
	supervisor->mode = HANDOVER_NORMAL;
	supervisor->death_count = 0;
	supervisor->upgrade = HANDOVER_UPGRADE_DONE;
	supervisor->trial_deadline_ns = clock_ns() + TRIAL_S * NS_PER_S;
	start_worker(supervisor);
}

static void roll_back(struct supervisor *supervisor)
{
	close_fd(supervisor->program);
	supervisor->program = take_fd(&supervisor->previous);
	supervisor->mode = supervisor->previous_mode;
	supervisor->upgrade = HANDOVER_UPGRADE_FAILED;
	supervisor->trial_deadline_ns = UINT64_MAX;
	start_worker(supervisor);
	log_error("the upgrade failed: the new program died before it served; the old one is back");
}

static void describe_death(int status, char *ret_text, size_t size)
{
	if (WIFSIGNALED(status))
		(void)snprintf(ret_text, size, "signal %d (%s)", WTERMSIG(status),
			sigabbrev_np(WTERMSIG(status)));
	else
		(void)snprintf(ret_text, size, "exit status %d", WEXITSTATUS(status));
}

static void decide_after_death(struct supervisor *supervisor, bool was_orderly, int status)
{
	if (was_orderly)
		end(supervisor, WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SUCCESS);
	else if (supervisor->is_rescuing)
		supervisor_end_rescue(supervisor, status);
	else if (supervisor->candidate >= 0)
		try_candidate(supervisor);
	else if (supervisor->previous >= 0)
		roll_back(supervisor);
	else if (!must_go_on(supervisor))
		end(supervisor, WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
	else if (is_crash_loop(supervisor))
		take_crash_loop(supervisor);
	else
		replace_worker(supervisor);
}

static void take_death(struct supervisor *supervisor)
{
	struct supervisor_worker *worker = &supervisor->worker;
	const bool was_orderly = worker->said_bye;
	const bool is_upgrade = supervisor->candidate >= 0;
	const bool was_rescuing = supervisor->is_rescuing;
	const pid_t pid = worker->pid;
	char how[64];
	int status = 0;

	if (waitpid(pid, &status, WNOHANG) != pid)
		return;
	close_fd(take_fd(&worker->pidfd));
	close_fd(take_fd(&worker->socket));
	worker->pid = 0;
	store_drop_incomplete(&supervisor->store);
	PROBE(supervisor, bereaved);
	decide_after_death(supervisor, was_orderly, status);
	if (was_orderly || was_rescuing || supervisor->has_ended)
		return;
	/* The next worker runs already: a log that does not take a line delays no guest. */
	describe_death(status, how, sizeof(how));
	if (is_upgrade)
		log_info("worker %d was replaced by %d for an upgrade", (int)pid, (int)worker->pid);
	else
		log_error("worker %d died: %s; %d takes over (%u restarts)", (int)pid, how,
			(int)worker->pid, supervisor->restarts);
}

static void signal_worker(const struct supervisor *supervisor, int number)
{
	if (supervisor->worker.pid > 0)
		(void)syscall(SYS_pidfd_send_signal, supervisor->worker.pidfd, number, NULL, 0);
}

/* The worker that was told died of something else, or before it could hear. */
static void tell_end_again(const struct supervisor *supervisor)
{
	if (supervisor->end_asked_ns != 0 &&
		clock_ns() - supervisor->end_asked_ns < END_MEMORY_S * NS_PER_S)
		signal_worker(supervisor, SIGTERM);
}

void supervisor_worker_is_ready(struct supervisor *supervisor)
{
	const char *state_dir = supervisor->config->state_dir;
	int rc = 0;

	supervisor->worker.is_ready = true;
	supervisor->trial_deadline_ns = UINT64_MAX;
	close_fd(take_fd(&supervisor->previous));
	/* not earlier: another supervisor may own the folder until our worker has the socket */
	if (!supervisor->has_served)
		rc = state_dir_write_pid(state_dir, STATE_DIR_SUPERVISOR);
	if (rc < 0)
		log_error("no supervisor.pid in %s: %s", state_dir, strerror(-rc));
	PROBE(supervisor, serving);
	supervisor->has_served = true;
	(void)notify_send(supervisor->mode == HANDOVER_MINIMAL
				  ? "READY=1\nSTATUS=minimal mode: serving faults, nothing else"
				  : "READY=1\nSTATUS=serving");
	if (supervisor->ready_fd >= 0) {
		self_leave_terminal();
		(void)!write(supervisor->ready_fd, "", 1);
		close_fd(take_fd(&supervisor->ready_fd));
	}
	tell_end_again(supervisor);
}

void supervisor_kill_worker(struct supervisor *supervisor)
{
	signal_worker(supervisor, SIGKILL);
}

static void refuse_to_end(const struct supervisor *supervisor)
{
	const struct store *store = &supervisor->store;

	log_error("not ending: guests need the %u entries that are held; SIGUSR1 to process %d "
		  "tries again to serve them, vmswapctl rescue brings their memory back",
		store_count_of_guests(store), (int)getpid());
	for (uint32_t i = 0; i < MIN(store_count(store), NAMES_MENTIONED); i++)
		log_error("held: %s, %u descriptors", store->entries[i].name,
			store->entries[i].total);
}

static void take_end_signal(struct supervisor *supervisor)
{
	supervisor->end_asked_ns = clock_ns();
	if (supervisor->worker.pid > 0)
		signal_worker(supervisor, SIGTERM);
	else if (store_count_of_guests(&supervisor->store) > 0)
		refuse_to_end(supervisor);
	else
		end(supervisor, EXIT_FAILURE);
}

static void take_retry_signal(struct supervisor *supervisor)
{
	if (supervisor->is_rescuing ||
		(!supervisor->is_waiting && supervisor->mode == HANDOVER_NORMAL))
		return;
	supervisor->mode = HANDOVER_NORMAL;
	supervisor->death_count = 0;
	if (supervisor->is_waiting) {
		supervisor->is_waiting = false;
		replace_worker(supervisor);
	} else {
		supervisor_kill_worker(supervisor); /* its death starts the next */
	}
	log_info("trying the normal mode again, as SIGUSR1 says");
}

static void take_signal(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	if (read(supervisor->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1)
		take_retry_signal(supervisor);
	else if (info.ssi_signo == SIGUSR2)
		supervisor_begin_rescue(supervisor, &info);
	else
		take_end_signal(supervisor);
}

/* The worker is dead, and its end of the socket is open: fork_guard.c. */
static bool is_guard_at_work(const struct supervisor_worker *worker)
{
	return worker->guard_deadline_ns != UINT64_MAX && worker->socket >= 0 &&
	       clock_ns() < worker->guard_deadline_ns;
}

static void take_end_of_worker(struct supervisor *supervisor)
{
	struct supervisor_worker *worker = &supervisor->worker;

	if (worker->guard_deadline_ns == UINT64_MAX)
		worker->guard_deadline_ns = clock_ns() + GUARD_WAIT_MS * NS_PER_MS;
	if (!is_guard_at_work(worker))
		take_death(supervisor);
}

static int timeout_ms(const struct supervisor *supervisor)
{
	const uint64_t guard_ns = is_guard_at_work(&supervisor->worker)
					  ? supervisor->worker.guard_deadline_ns
					  : UINT64_MAX;
	const uint64_t due_ns =
		MIN(guard_ns, MIN(supervisor->retry_ns, supervisor->trial_deadline_ns));
	const uint64_t now_ns = clock_ns();

	if (due_ns == UINT64_MAX)
		return -1;
	return due_ns <= now_ns ? 0 : (int)divide_up(due_ns - now_ns, NS_PER_MS);
}

static void take_time(struct supervisor *supervisor)
{
	const uint64_t now_ns = clock_ns();

	if (supervisor->retry_ns <= now_ns)
		replace_worker(supervisor);
	if (supervisor->trial_deadline_ns <= now_ns) {
		supervisor->trial_deadline_ns = UINT64_MAX;
		supervisor_kill_worker(supervisor); /* its death rolls back */
	}
}

static void turn(struct supervisor *supervisor)
{
	struct pollfd fds[] = {
		{.fd = supervisor->signals, .events = POLLIN},
		{.fd = supervisor->worker.socket, .events = POLLIN},
		{.fd = is_guard_at_work(&supervisor->worker) ? -1 : supervisor->worker.pidfd,
			.events = POLLIN},
	};

	if (poll(fds, ARRAY_SIZE(fds), timeout_ms(supervisor)) < 0)
		return;
	/* What the worker and its guard said comes before its death: BYE. */
	if (fds[1].revents != 0)
		supervisor_serve(supervisor);
	else if (fds[2].revents != 0)
		take_end_of_worker(supervisor);
	if (fds[0].revents != 0)
		take_signal(supervisor);
	take_time(supervisor);
}

static int open_signals(void)
{
	sigset_t signals;

	(void)signal(SIGHUP, SIG_IGN); /* the worker's too: a closed terminal ends nothing */
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGUSR1);
	(void)sigaddset(&signals, SIGUSR2);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	return errno_of(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

static int prepare(struct supervisor *supervisor)
{
	int rc = state_dir_make(supervisor->config->state_dir, &supervisor->owns_state_dir);

	if (rc < 0) {
		log_error("cannot use the folder %s: %s (--state-dir names another)",
			supervisor->config->state_dir, strerror(-rc));
		return rc;
	}
	/* Before anything is opened, so that nothing leads out of it. */
	if (!supervisor->config->has_host_view)
		rc = view_make(supervisor->config);
	if (rc < 0)
		return rc;
	self_harden();
	self_raise_files(STORE_FDS_MAX + OWN_FDS);
	self_spare_from_oom();
	fdstore_take(&supervisor->store);
	rc = recover_take(supervisor->config, &supervisor->store);
	if (rc < 0)
		return rc;
	launch_prepare();
	supervisor->signals = open_signals();
	supervisor->program = errno_of(open("/proc/self/exe", O_PATH | O_CLOEXEC));
	rc = MIN(supervisor->signals, supervisor->program);
	if (rc < 0)
		log_error("cannot start: %s", strerror(-rc));
	else
		self_stay_in_memory();
	return rc < 0 ? rc : 0;
}

int supervisor_run(const struct config *config, char **argv, int ready_fd)
{
	static struct supervisor supervisor = {
		.program = -1,
		.candidate = -1,
		.previous = -1,
		.trial_deadline_ns = UINT64_MAX,
		.retry_ns = UINT64_MAX,
		.worker = {.pidfd = -1, .socket = -1, .guard_deadline_ns = UINT64_MAX},
	};

	supervisor.config = config;
	supervisor.argv = argv;
	supervisor.ready_fd = ready_fd;
	if (prepare(&supervisor) < 0)
		return EXIT_FAILURE;
	start_worker(&supervisor);
	while (!supervisor.has_ended)
		turn(&supervisor);
	if (store_count_of_guests(&supervisor.store) == 0)
		recover_forget(config);
	if (supervisor.has_served)
		state_dir_clear(config->state_dir, supervisor.owns_state_dir);
	else if (supervisor.owns_state_dir)
		(void)rmdir(config->state_dir);
	return supervisor.exit_status;
}
