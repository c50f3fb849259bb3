/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets that the cgroup freezer holds longer than the tracer waits: before an injected call has
 * begun, while a signal is passed on, anywhere. None may go on with registers that are not its own,
 * none may lose a signal. The limits are made short by compiling tracee.c into this program.
 *
 * usage: test_inject_frozen [SEED]
 */
#include "ctl/tracee.h"

#undef TRACEE_STOP_MS
#define TRACEE_STOP_MS 30u
#undef TRACEE_CALL_MS
#define TRACEE_CALL_MS 60u
#undef TRACEE_INTERRUPT_MS
#define TRACEE_INTERRUPT_MS 20u
#include "ctl/tracee.c"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attach_target.h"
#include "checked_call.h"
#include "ctl/inject.h"
#include "freezer.h"

#define STORM_NS      (6 * NS_PER_S)
#define LANES	      3
#define SLEEP_NS      300000
#define FROZEN_US_MAX 150000u
#define THAWED_US_MAX 20000u
#define SIGNAL_US_MAX 3000u
#define STOP_US_MAX   40000u
#define PATIENCE_NS   (20 * NS_PER_S)

static const uint64_t none[6];
static uint64_t seed = 1;

static bool is_traced(pid_t pid)
{
	struct procfs_status status;

	CHECK(procfs_status(pid, 0, &status) == 0);
	return status.tracer != 0;
}

static void look_again(uint64_t start_ns)
{
	const struct timespec pause = {.tv_nsec = 100000};

	CHECK(clock_ns() - start_ns < PATIENCE_NS);
	(void)nanosleep(&pause, NULL);
}

static void await_untraced(pid_t pid)
{
	const uint64_t start_ns = clock_ns();

	while (is_traced(pid))
		look_again(start_ns);
}

/* Its own read goes on as if nothing had been. */
static void check_unharmed(struct attach_target *target)
{
	CHECK(write(target->shared->descriptors[1], "x", 1) == 1);
	attach_await(&target->shared->is_done);
	CHECK(target->shared->result == 1);
	CHECK(attach_wait(target) == 0);
}

static bool open_freezer(enum freezer_version version, struct freezer *ret_freezer)
{
	if (freezer_open(version, ret_freezer))
		return true;
	(void)printf("    skipped: no freezer of cgroup v%d here\n", version + 1);
	return false;
}

static struct attach_target start_waiting(const struct freezer *freezer)
{
	struct attach_target target = attach_start(attach_wait_body);

	attach_await_syscall(target.pid, SYS_read);
	freezer_take(freezer, target.pid);
	return target;
}

static void a_frozen_target_is_put_back_while_it_is_frozen(void)
{
	struct freezer freezer;
	if (!open_freezer(FREEZER_V2, &freezer))
		return;
	struct attach_target target = start_waiting(&freezer);
	freezer_freeze(&freezer);

	struct injection *injection = attach_begin(target.pid);
	long result = inject_call(injection, SYS_getppid, none);
	(void)inject_end(injection);
	await_untraced(target.pid);
	freezer_thaw(&freezer);

	CHECK(result == -ETIMEDOUT);
	check_unharmed(&target);
	freezer_close(&freezer);
}

static void a_target_that_thaws_in_between_can_be_used_again(void)
{
	struct freezer freezer;
	if (!open_freezer(FREEZER_V2, &freezer))
		return;
	struct attach_target target = start_waiting(&freezer);
	freezer_freeze(&freezer);

	struct injection *injection = attach_begin(target.pid);
	long result = inject_call(injection, SYS_getppid, none);
	freezer_thaw(&freezer);
	long next = inject_call(injection, SYS_getppid, none);
	(void)inject_end(injection);

	CHECK(result == -ETIMEDOUT);
	CHECK(next == getpid());
	check_unharmed(&target);
	freezer_close(&freezer);
}

/* Frozen as it stands: what it is told to do then it does when it is thawed. */
static void a_target_that_cannot_move_is_put_back_when_it_can(void)
{
	struct freezer freezer;
	if (!open_freezer(FREEZER_V1, &freezer))
		return;
	struct attach_target target = start_waiting(&freezer);
	struct injection *second = NULL;

	struct injection *injection = attach_begin(target.pid);
	freezer_freeze(&freezer);
	long result = inject_call(injection, SYS_getppid, none);
	long next = inject_call(injection, SYS_getppid, none);
	(void)inject_end(injection);
	int refused = attach_try(target.pid, &second, NULL);
	bool was_traced = is_traced(target.pid);
	freezer_thaw(&freezer);
	await_untraced(target.pid);

	CHECK(result == -ETIMEDOUT);
	CHECK(next == -ETIMEDOUT);
	CHECK(refused == -EBUSY);
	CHECK(was_traced);
	check_unharmed(&target);
	freezer_close(&freezer);
}

static void a_target_killed_while_it_cannot_move_is_let_go(void)
{
	struct freezer freezer;
	if (!open_freezer(FREEZER_V1, &freezer))
		return;
	struct attach_target target = start_waiting(&freezer);

	struct injection *injection = attach_begin(target.pid);
	freezer_freeze(&freezer);
	long result = inject_call(injection, SYS_getppid, none);
	(void)inject_end(injection);
	CHECK(kill(target.pid, SIGKILL) == 0);
	freezer_thaw(&freezer);

	CHECK(result == -ETIMEDOUT);
	CHECK(WIFSIGNALED(attach_wait(&target)));
	freezer_close(&freezer);
}

/* ---- everything at once ---- */

struct lane {
	_Atomic uint64_t rounds;
	_Atomic bool has_failed;
	long number; /* of the call that failed */
	int64_t result;
};

static struct {
	struct lane lanes[LANES];
	_Atomic uint64_t signals; /* that the target has handled */
} * storm;

static const struct timespec sleep_time = {.tv_nsec = SLEEP_NS};

static void count_signal(int number)
{
	(void)number;
	atomic_fetch_add(&storm->signals, 1);
}

/* Calls that a handler interrupts are the handler's business, not ours. */
static bool is_right(long number, int64_t result)
{
	if (number == SYS_nanosleep || number == SYS_poll)
		return result == 0 || result == -EINTR;
	return result == (number == CHECKED_LOOP ? CHECKED_LOOP : getppid());
}

static void *lane_main(void *argument)
{
	static const struct {
		long number;
		uint64_t argument[4];
	} steps[] = {
		{SYS_nanosleep, {(uint64_t)&sleep_time}},
		{CHECKED_LOOP, {0}},
		{SYS_poll, {0, 0, 1}},
		{SYS_getppid, {0}},
	};
	struct lane *lane = argument;
	uint64_t random = (uint64_t)(lane - storm->lanes) + 1;

	for (;;) {
		const uint64_t choice = checked_random(&random) % ARRAY_SIZE(steps);
		int64_t result;

		if (!checked_call(steps[choice].number, steps[choice].argument, &random, &result) ||
			!is_right(steps[choice].number, result)) {
			lane->number = steps[choice].number;
			lane->result = result;
			atomic_store(&lane->has_failed, true);
		}
		atomic_fetch_add(&lane->rounds, 1);
	}
	return NULL;
}

static void storm_body(struct attach_shared *shared)
{
	const struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
	pthread_t thread;

	CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
	for (int i = 1; i < LANES; i++)
		CHECK(pthread_create(&thread, NULL, lane_main, &storm->lanes[i]) == 0);
	atomic_store(&shared->is_ready, true);
	(void)lane_main(&storm->lanes[0]);
}

struct tormentor {
	pid_t pid;
	const struct freezer *freezer;
	uint64_t random;
	uint64_t until_ns;
	uint64_t count; /* of what it did */
};

static void pause_some(struct tormentor *self, uint32_t us_max)
{
	const struct timespec pause = {
		.tv_nsec = (long)(checked_random(&self->random) % us_max * NS_PER_US)};

	(void)nanosleep(&pause, NULL);
}

static void *freeze_main(void *argument)
{
	struct tormentor *self = argument;

	for (; clock_ns() < self->until_ns; self->count++) {
		pause_some(self, THAWED_US_MAX);
		freezer_freeze(self->freezer);
		pause_some(self, FROZEN_US_MAX);
		freezer_thaw(self->freezer);
	}
	return NULL;
}

/* Queued ones: none of them is merged with another, so all can be counted. */
static void *signal_main(void *argument)
{
	struct tormentor *self = argument;

	while (clock_ns() < self->until_ns) {
		pause_some(self, SIGNAL_US_MAX);
		self->count += sigqueue(self->pid, SIGRTMIN, (union sigval){0}) == 0;
	}
	return NULL;
}

static void *stop_main(void *argument)
{
	struct tormentor *self = argument;

	for (; clock_ns() < self->until_ns; self->count++) {
		pause_some(self, STOP_US_MAX);
		CHECK(kill(self->pid, SIGSTOP) == 0);
		pause_some(self, STOP_US_MAX);
		CHECK(kill(self->pid, SIGCONT) == 0);
	}
	return NULL;
}

/* Some calls, each with its result or too late; how many had one. */
static uint64_t inject_some_calls(struct tormentor *self)
{
	struct injection *injection;
	uint64_t done = 0;

	if (attach_try(self->pid, &injection, NULL) < 0)
		return 0;
	for (uint64_t i = checked_random(&self->random) % 4 + 1; i > 0; i--) {
		const long result = inject_call(injection, SYS_getppid, none);

		CHECK(result == getpid() || result == -ETIMEDOUT);
		done += result > 0;
	}
	(void)inject_end(injection);
	return done;
}

static uint64_t inject_main(struct tormentor *self)
{
	uint64_t done = 0;

	for (; clock_ns() < self->until_ns; self->count++)
		done += inject_some_calls(self);
	return done;
}

static void check_lanes(void)
{
	const uint64_t start_ns = clock_ns();

	for (int i = 0; i < LANES; i++) {
		struct lane *lane = &storm->lanes[i];
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

static void await_signals(uint64_t sent)
{
	const uint64_t start_ns = clock_ns();

	while (atomic_load(&storm->signals) < sent)
		look_again(start_ns);
	CHECK(atomic_load(&storm->signals) == sent);
}

static void weather_a_storm(enum freezer_version version)
{
	static void *(*const mains[])(void *) = {freeze_main, signal_main, stop_main};
	struct tormentor tormentors[ARRAY_SIZE(mains)];
	pthread_t threads[ARRAY_SIZE(mains)];
	struct freezer freezer;
	if (!open_freezer(version, &freezer))
		return;
	memset(storm, 0, sizeof(*storm));
	struct attach_target target = attach_start(storm_body);
	struct tormentor self = {target.pid, &freezer, seed, clock_ns() + STORM_NS, 0};
	attach_await(&target.shared->is_ready);
	freezer_take(&freezer, target.pid);

	for (size_t i = 0; i < ARRAY_SIZE(mains); i++) {
		tormentors[i] = self;
		tormentors[i].random = (seed + i) * 0x9e3779b97f4a7c15ull | 1;
		CHECK(pthread_create(&threads[i], NULL, mains[i], &tormentors[i]) == 0);
	}
	uint64_t done = inject_main(&self);
	for (size_t i = 0; i < ARRAY_SIZE(mains); i++)
		CHECK(pthread_join(threads[i], NULL) == 0);

	(void)printf("    seed %lu: frozen %lu times, %lu signals, stopped %lu times, %lu "
		     "injections, %lu calls\n",
		seed, tormentors[0].count, tormentors[1].count, tormentors[2].count, self.count,
		done);
	await_untraced(target.pid);
	check_lanes();
	await_signals(tormentors[1].count);
	attach_inject_getppid(target.pid);
	attach_stop(&target);
	freezer_close(&freezer);
	CHECK(done > 0);
}

static void a_target_that_is_frozen_at_any_instant_is_not_harmed(void)
{
	weather_a_storm(FREEZER_V2);
}

static void a_target_that_cannot_move_at_any_instant_is_not_harmed(void)
{
	weather_a_storm(FREEZER_V1);
}

int main(int argc, char **argv)
{
	struct freezer any;

	if (geteuid() != 0 || ATTACH_HAS_OWN_THREAD) {
		(void)printf("needs root, and no ThreadSanitizer\n");
		return 77;
	}
	if (!freezer_open(FREEZER_V2, &any) && !freezer_open(FREEZER_V1, &any)) {
		(void)printf("needs a cgroup freezer\n");
		return 77;
	}
	freezer_close(&any);
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 10);
	storm = mmap(
		NULL, sizeof(*storm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(storm != MAP_FAILED);
	attach_start_injector();
	RUN(a_frozen_target_is_put_back_while_it_is_frozen);
	RUN(a_target_that_thaws_in_between_can_be_used_again);
	RUN(a_target_that_cannot_move_is_put_back_when_it_can);
	RUN(a_target_killed_while_it_cannot_move_is_let_go);
	RUN(a_target_that_is_frozen_at_any_instant_is_not_harmed);
	RUN(a_target_that_cannot_move_at_any_instant_is_not_harmed);
	return 0;
}
