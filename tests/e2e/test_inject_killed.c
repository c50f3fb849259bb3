/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that injects is killed at random instants, some hundred times; its targets check
 * every register of every system call they make meanwhile. And what else may happen between a
 * worker and its injector.
 *
 * usage: test_inject_killed [SEED]
 */
#include "ctl/inject.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/futex.h>

#include "attach_target.h"
#include "checked_call.h"
#include "ctl/injector.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"

#define GUEST_BYTES MIB
#define NOBODY	    65534
#define ROUNDS	    300
#define ROUNDS_NS   (20 * NS_PER_S)
#define DELAY_US    3000u
#define PATIENCE_NS (5 * NS_PER_S)
#define UFFDS	    3
#define TARGETS	    2
#define LANES	    4 /* threads that do what they like; two more pass bytes on */
#define LANE_READS  LANES
#define LANE_WRITES (LANES + 1)
#define LANES_ALL   (LANES + 2)
#define SLEEP_NS    300000

/* ---- a target that looks at itself ---- */

struct lane {
	_Atomic uint64_t rounds;
	_Atomic bool has_failed;
	long number; /* of the call that failed */
	int64_t result;
};

struct killed {
	struct lane lanes[LANES_ALL];
	_Atomic bool only_loops;
	/* written by the worker */
	_Atomic bool has_uffds;
	int remote[UFFDS];
};

/* One for each target; the last field is the worker's. */
static struct {
	struct killed targets[TARGETS];
	_Atomic int injector;
	_Atomic uint64_t injections;
	_Atomic bool has_failed;
} * shared;

struct lane_context {
	struct killed *killed;
	const struct attach_shared *attach;
	int number;
};

struct step {
	long number;
	uint64_t argument[4];
	int64_t result;
	uint64_t least_ns;
};

static const struct timespec sleep_time = {.tv_nsec = SLEEP_NS};
static uint32_t futex_word;

static struct step random_step(struct killed *killed, uint64_t *random)
{
	const uint64_t time = (uint64_t)&sleep_time;

	if (atomic_load(&killed->only_loops))
		return (struct step){CHECKED_LOOP, {0}, CHECKED_LOOP, 0};
	switch (checked_random(random) % 4) {
	case 0: return (struct step){SYS_nanosleep, {time}, 0, SLEEP_NS};
	case 1:
		return (struct step){SYS_futex, {(uint64_t)&futex_word, FUTEX_WAIT, 0, time},
			-ETIMEDOUT, SLEEP_NS};
	case 2: return (struct step){SYS_poll, {0, 0, 1}, 0, NS_PER_MS};
	default: return (struct step){CHECKED_LOOP, {0}, CHECKED_LOOP, 0};
	}
}

/* One call; the lane fails for good when anything of it is not as it must be. */
static void take_step(struct lane *lane, const struct step *step, uint64_t *random)
{
	const uint64_t start_ns = clock_ns();
	int64_t result;
	const bool is_kept = checked_call(step->number, step->argument, random, &result);

	if (!is_kept || result != step->result || clock_ns() - start_ns < step->least_ns) {
		lane->number = step->number;
		lane->result = result;
		atomic_store(&lane->has_failed, true);
	}
	atomic_fetch_add(&lane->rounds, 1);
}

static void *lane_main(void *argument)
{
	const struct lane_context *context = argument;
	struct lane *lane = &context->killed->lanes[context->number];
	uint64_t random = (uint64_t)context->number + 1;
	uint8_t byte = 0;

	for (uint8_t next = 0;; next++) {
		const uint64_t address = (uint64_t)&byte;
		struct step step = random_step(context->killed, &random);

		if (context->number == LANE_READS)
			step = (struct step){SYS_read,
				{(uint64_t)context->attach->descriptors[0], address, 1}, 1, 0};
		if (context->number == LANE_WRITES) {
			take_step(lane, &step, &random);
			byte = next;
			step = (struct step){SYS_write,
				{(uint64_t)context->attach->descriptors[1], address, 1}, 1, 0};
		}
		take_step(lane, &step, &random);
		if (context->number == LANE_READS && byte != next)
			atomic_store(&lane->has_failed, true);
	}
	return NULL;
}

static void target_body(struct attach_shared *attach, struct killed *killed)
{
	static struct lane_context contexts[LANES_ALL];

	(void)attach_guest(attach, GUEST_BYTES);
	for (int i = 0; i < LANES_ALL; i++) {
		pthread_t thread;

		contexts[i] = (struct lane_context){killed, attach, i};
		CHECK(pthread_create(&thread, NULL, lane_main, &contexts[i]) == 0);
	}
	atomic_store(&attach->is_ready, true);
	for (;;)
		(void)pause();
}

static void root_body(struct attach_shared *attach)
{
	target_body(attach, &shared->targets[0]);
}

/* Its userfaultfds take the long way, with a scratch page and sockets. */
static void nobody_body(struct attach_shared *attach)
{
	CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	target_body(attach, &shared->targets[1]);
}

static struct attach_target targets[TARGETS];

/* ---- a worker that injects until it is killed ---- */

static void expect(bool condition)
{
	if (!condition)
		atomic_store(&shared->has_failed, true);
}

static void inject_some_calls(pid_t pid, uint64_t *random)
{
	const uint64_t none[6] = {0};
	struct injection *injection = attach_begin(pid);

	for (uint64_t calls = checked_random(random) % 8; calls > 0; calls--)
		expect(inject_call(injection, SYS_getpid, none) == pid);
	(void)inject_end(injection);
}

static void inject_a_zap(const struct attach_target *target)
{
	struct inject_zapped zapped;

	expect(attach_zap(target->pid, target->shared->address, GUEST_BYTES, &zapped) == 0);
	expect(zapped.result == 0);
}

static void inject_uffds_and_close(const struct attach_target *target, struct killed *killed)
{
	struct injection *injection = attach_begin(target->pid);
	int fds[UFFDS];

	expect(inject_uffds(injection, UFFDS, fds, killed->remote, NULL) == 0);
	atomic_store(&killed->has_uffds, true);
	(void)inject_end(injection);
	for (int i = 0; i < UFFDS; i++)
		expect(close(fds[i]) == 0);
	injection = attach_begin(target->pid);
	inject_close(injection, killed->remote, UFFDS);
	/* Its answer says that they are closed. */
	atomic_store(&killed->has_uffds, false);
	(void)inject_end(injection);
}

struct work {
	int index;
	uint64_t random;
};

static void *work_main(void *argument)
{
	struct work *work = argument;
	const struct attach_target *target = &targets[work->index];

	for (;;) {
		switch (checked_random(&work->random) % 3) {
		case 0: inject_some_calls(target->pid, &work->random); break;
		case 1: inject_a_zap(target); break;
		default: inject_uffds_and_close(target, &shared->targets[work->index]);
		}
		atomic_fetch_add(&shared->injections, 1);
	}
	return NULL;
}

_Noreturn static void worker_body(uint64_t seed)
{
	static struct work works[TARGETS];
	pthread_t thread;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	attach_start_injector();
	for (int i = 0; i < TARGETS; i++)
		works[i] = (struct work){i, (seed + (uint64_t)i) * 0x9e3779b97f4a7c15ull | 1};
	atomic_store(&shared->injector, injector_pid());
	CHECK(pthread_create(&thread, NULL, work_main, &works[1]) == 0);
	(void)work_main(&works[0]);
	_exit(1);
}

/* ---- the killing ---- */

static void look_again(uint64_t start_ns)
{
	const struct timespec pause = {.tv_nsec = 100000};

	CHECK(clock_ns() - start_ns < PATIENCE_NS);
	(void)nanosleep(&pause, NULL);
}

static pid_t start_worker(uint64_t seed)
{
	const uint64_t start_ns = clock_ns();
	pid_t worker;

	atomic_store(&shared->injector, 0);
	(void)fflush(NULL);
	worker = fork();
	CHECK(worker >= 0);
	if (worker == 0)
		worker_body(seed);
	while (atomic_load(&shared->injector) == 0)
		look_again(start_ns);
	return worker;
}

/* Orphaned, it is ours: we are its subreaper. It must have ended by itself. */
static void await_injector(void)
{
	const uint64_t start_ns = clock_ns();
	const pid_t injector = atomic_load(&shared->injector);
	int status;
	pid_t waited;

	while ((waited = waitpid(injector, &status, WNOHANG)) == 0)
		look_again(start_ns);
	CHECK(waited == injector);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int visit_thread(void *context, int tid)
{
	const pid_t *pid = context;
	struct procfs_status status;
	struct procfs_stat stat;

	CHECK(procfs_status(*pid, tid, &status) == 0);
	CHECK(procfs_stat(*pid, tid, &stat) == 0);
	return status.tracer != 0 || strchr("tTZX", stat.state) != NULL;
}

static bool is_free(pid_t pid)
{
	char path[PROCFS_PATH_BYTES];

	(void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return procfs_each(path, visit_thread, &pid) == 0;
}

static void check_lanes(struct killed *killed)
{
	const uint64_t start_ns = clock_ns();

	for (int i = 0; i < LANES_ALL; i++) {
		struct lane *lane = &killed->lanes[i];
		const uint64_t before = atomic_load(&lane->rounds);

		while (atomic_load(&lane->rounds) < before + 2 && !atomic_load(&lane->has_failed))
			look_again(start_ns);
		if (!atomic_load(&lane->has_failed))
			continue;
		(void)fprintf(
			stderr, "lane %d: call %ld gave %ld\n", i, lane->number, lane->result);
		exit(1);
	}
}

/* Those that the worker had are all there, as it had no time to close them; or none. */
static void check_descriptors(struct attach_target *target, struct killed *killed, uint32_t before)
{
	const uint32_t extra = attach_count(target->pid, "fd") - before;

	CHECK(extra == 0 || (extra == UFFDS && atomic_load(&killed->has_uffds)));
	if (extra > 0) {
		struct injection *injection = attach_begin(target->pid);

		inject_close(injection, killed->remote, UFFDS);
		(void)inject_end(injection);
	}
	CHECK(attach_count(target->pid, "fd") == before);
	atomic_store(&killed->has_uffds, false);
}

static uint64_t seed = 1;

static void kill_once(uint64_t *random)
{
	const pid_t worker = start_worker(*random);
	const struct timespec delay = {
		.tv_nsec = (long)(checked_random(random) % (DELAY_US * NS_PER_US))};

	(void)nanosleep(&delay, NULL);
	CHECK(kill(worker, SIGKILL) == 0);
	CHECK(waitpid(worker, NULL, 0) == worker);
	await_injector();
	for (int i = 0; i < TARGETS; i++)
		CHECK(is_free(targets[i].pid));
}

static void a_worker_killed_at_any_instant_harms_no_target(void)
{
	const uint64_t start_ns = clock_ns();
	uint32_t before[TARGETS];
	uint64_t random = seed * 0x9e3779b97f4a7c15ull | 1;
	int rounds = 0;
	int leaks = 0;

	targets[0] = attach_start(root_body);
	targets[1] = attach_start(nobody_body);
	for (int i = 0; i < TARGETS; i++) {
		attach_await(&targets[i].shared->is_ready);
		before[i] = attach_count(targets[i].pid, "fd");
	}
	for (; rounds < ROUNDS && clock_ns() - start_ns < ROUNDS_NS; rounds++) {
		for (int i = 0; i < TARGETS; i++)
			atomic_store(&shared->targets[i].only_loops, rounds % 4 == 0);
		kill_once(&random);
		for (int i = 0; i < TARGETS; i++) {
			leaks += attach_count(targets[i].pid, "fd") != before[i];
			check_descriptors(&targets[i], &shared->targets[i], before[i]);
		}
		for (int i = 0; i < TARGETS; i++)
			check_lanes(&shared->targets[i]);
		CHECK(!atomic_load(&shared->has_failed));
	}
	(void)printf("    seed %lu: %d kills, %lu injections, %d times with delivered descriptors "
		     "left\n",
		seed, rounds, atomic_load(&shared->injections), leaks);
	CHECK(rounds >= 20);
	for (int i = 0; i < TARGETS; i++)
		attach_stop(&targets[i]);
}

/* ---- a worker that is killed while its call is under way ---- */

static void inject_a_long_call(pid_t pid, uint64_t duration_ms)
{
	const uint64_t poll[6] = {0, 0, duration_ms};

	(void)inject_call(attach_begin(pid), SYS_poll, poll);
}

static pid_t start_caller(pid_t pid, uint64_t duration_ms)
{
	const uint64_t start_ns = clock_ns();
	pid_t caller = fork();

	CHECK(caller >= 0);
	if (caller == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		attach_start_injector();
		atomic_store(&shared->injector, injector_pid());
		inject_a_long_call(pid, duration_ms);
		_exit(1);
	}
	attach_await_syscall(pid, SYS_poll);
	CHECK(clock_ns() - start_ns < PATIENCE_NS);
	CHECK(kill(caller, SIGKILL) == 0);
	CHECK(waitpid(caller, NULL, 0) == caller);
	return pid;
}

static void check_runs_on(struct attach_target *target)
{
	CHECK(is_free(target->pid));
	CHECK(write(target->shared->descriptors[1], "x", 1) == 1);
	attach_await(&target->shared->is_done);
	CHECK(target->shared->result == 1);
	CHECK(attach_wait(target) == 0);
}

static void a_new_injection_waits_for_that_of_a_dead_worker(void)
{
	struct attach_target target = attach_start(attach_wait_body);

	attach_await_syscall(target.pid, SYS_read);
	(void)start_caller(target.pid, 300);
	CHECK(!is_free(target.pid));
	attach_inject_getppid(target.pid);

	await_injector();
	check_runs_on(&target);
}

static void a_new_injection_is_refused_when_that_of_a_dead_worker_lasts(void)
{
	struct attach_target target = attach_start(attach_wait_body);
	struct injection *injection = NULL;
	struct problem problem = {0};

	attach_await_syscall(target.pid, SYS_read);
	(void)start_caller(target.pid, 2500);
	const int error = attach_try(target.pid, &injection, &problem);
	(void)printf("    %s\n", problem.text);
	await_injector();

	CHECK(error == -EBUSY);
	CHECK(strcmp(problem.reason, "already-traced") == 0);
	check_runs_on(&target);
}

static void an_injection_left_alone_is_ended(void)
{
	const uint64_t none[6] = {0};
	const struct timespec pause = {.tv_nsec = 10 * (long)NS_PER_MS};
	struct attach_target target = attach_start(attach_wait_body);
	struct injection *injection;
	const uint64_t start_ns = clock_ns();

	attach_await_syscall(target.pid, SYS_read);
	injection = attach_begin(target.pid);
	while (!is_free(target.pid)) {
		CHECK(clock_ns() - start_ns < 4 * PATIENCE_NS);
		(void)nanosleep(&pause, NULL);
	}

	CHECK(inject_call(injection, SYS_getppid, none) == -ETIMEDOUT);
	(void)inject_end(injection);
	check_runs_on(&target);
}

/* ---- the injector itself ---- */

static void check_text(pid_t pid, const char *name, const char *wanted)
{
	char path[PROCFS_PATH_BYTES];
	char text[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	CHECK(procfs_read(path, text, sizeof(text)) > 0);
	CHECK(strcmp(text, wanted) == 0);
}

static void signals_and_the_oom_killer_pass_it_over(void)
{
	const pid_t injector = injector_pid();
	struct procfs_status status;
	const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		CHECK(kill(injector, numbers[i]) == 0);
	CHECK(injector_is_alive());
	CHECK(getpgid(injector) == injector);
	check_text(injector, "comm", INJECTOR_NAME "\n");
	CHECK(procfs_status(injector, 0, &status) == 0);
	if (status.capabilities >> CAP_SYS_RESOURCE & 1)
		check_text(injector, "oom_score_adj", "-1000\n");
	/* Its socket, an eventfd, and /dev/null three times. */
	CHECK(attach_count(injector, "fd") == 5);
}

static void lonely_body(struct attach_shared *attach)
{
	const uint64_t start_ns = clock_ns();
	struct injection *injection = NULL;
	struct problem problem = {0};

	attach_start_injector();
	CHECK(kill(injector_pid(), SIGKILL) == 0);
	while (injector_is_alive())
		look_again(start_ns);
	CHECK(attach_try((pid_t)attach->value, &injection, &problem) == -EOWNERDEAD);
	(void)printf("    %s\n", problem.text);
	CHECK(strcmp(problem.reason, "injector-died") == 0);
	injector_stop();
}

static void its_death_is_named(void)
{
	struct attach_target target = attach_start(attach_wait_body);
	pid_t lonely;

	attach_await_syscall(target.pid, SYS_read);
	target.shared->value = (uint64_t)target.pid;
	(void)fflush(NULL);
	lonely = fork();
	if (lonely == 0) {
		lonely_body(target.shared);
		(void)fflush(NULL);
		_exit(0);
	}
	int status;
	CHECK(waitpid(lonely, &status, 0) == lonely);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	attach_stop(&target);
}

int main(int argc, char **argv)
{
	if (geteuid() != 0 || ATTACH_HAS_OWN_THREAD) {
		(void)printf("needs root, and no ThreadSanitizer\n");
		return 77;
	}
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 10);
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	attach_start_injector();
	RUN(signals_and_the_oom_killer_pass_it_over);
	RUN(its_death_is_named);
	RUN(a_new_injection_waits_for_that_of_a_dead_worker);
	RUN(a_new_injection_is_refused_when_that_of_a_dead_worker_lasts);
	RUN(an_injection_left_alone_is_ended);
	RUN(a_worker_killed_at_any_instant_harms_no_target);
	return 0;
}
