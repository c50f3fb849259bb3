/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a call is run in a stopped thread
 *
 *     SEIZE  INTERRUPT            SETREGS      SYSCALL        SYSCALL         SETREGS   DETACH
 *     ----------------> EVENT_STOP -------> (again) --> entry --------> exit --------> ----------->
 *                        GETREGS   rax = number           GETREGS: rax     as saved
 *                                  rip = a syscall instruction that is there already
 *
 *  1. Nothing is written into the target. The instruction is the one the thread sleeps in (rip -
 * 2), else one of the vdso, else any 0f 05 in executable memory.
 *  2. orig_rax = -1 in the registers of the injected call: otherwise the kernel would apply the
 * restart fix-up of the interrupted call to them. On the saved registers it must, and does: DETACH
 * makes the thread pass the signal code once more, which restarts what is restartable (futex, poll,
 *     nanosleep with the time that is left, read…) without user code noticing.
 *  3. The signal mask is left alone. A signal that comes stops the thread before its delivery; it
 * is then delivered with the saved registers, where it belongs, the thread is stopped anew, and the
 * call begun again. Between entry and exit of a call nothing is delivered. So a tracer that dies
 * here leaves no thread with blocked signals behind; what it can leave is one call that returns
 * early with the result of ours.
 *  4. seccomp is suspended for the thread (PTRACE_O_SUSPEND_SECCOMP). Where that is refused and the
 * thread has a filter it is not touched: a filter may kill the whole process for an unknown call.
 *  5. A thread in an rseq critical section would lose the kernel's protection when its rip is moved
 * out and back: it is let go and the caller tries again.
 *  6. However long the thread takes to get from one stop to the next (a cgroup that is frozen, a
 * memory limit that throttles, no CPU): it is never let go with our registers, nor given back
 * registers that are older than it is. What it runs as is its state:
 *
 *         STANDS --CONT signal--> OWN            saved registers in it; they are read anew when it
 *            |  ^------stop--------'             stops
 *            |
 *            '--SYSCALL--> ENTERS --entry--> CALLS --exit--> STANDS
 *                            '--any other stop: as if nothing had been--^
 *
 *     A thread that is late is interrupted; what comes then is waited for by whoever has it, in the
 * end without a bound. One that stands at the entry after all is made to skip the call.
 *  7. A thread group that is stopped (SIGSTOP) reports the same EVENT_STOP, runs our calls, and is
 * stopped again by the kernel after DETACH.
 *
 * Waits poll waitid(2): first without sleeping, for a thread on another CPU stops within
 * microseconds, then in steps that grow with the time already spent, so that a late stop is seen
 * late by an eighth of it at most.
 */
#include "ctl/tracee.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include <linux/rseq.h>

#include "ctl/permit.h"
#include "ctl/problem.h"
#include "ctl/procfs.h"
#include "ctl/syscall_insn.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"

#define SPIN_NS	     (50 * NS_PER_US)
#define STEP_NS_MAX  NS_PER_MS
#define CODE_64	     0x33u /* the code segment of 64-bit user code */
#define SYSCALL_STOP (SIGTRAP | 0x80)
/* Signals passed on during one stop: a thread under a storm of them is left in peace. */
#define SIGNALS_MAX 64u
/* The kernel asks for a call to be restarted; never seen by user code. */
#define ERESTARTSYS	      512
#define ERESTART_RESTARTBLOCK 516
#define RESTARTS_MAX	      16u
#define FOREVER		      UINT32_MAX

/* Sleeps an eighth of what was waited so far. */
static void pause_after(uint64_t waited_ns)
{
	uint64_t step_ns = MIN(waited_ns / 8, STEP_NS_MAX);
	struct timespec step = {.tv_nsec = (long)step_ns};

	if (waited_ns < SPIN_NS)
		(void)sched_yield();
	else
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
}

static int lost(struct tracee *tracee)
{
	tracee->state = TRACEE_GONE;
	tracee->signal = 0;
	return -ESRCH;
}

/*
 * Looks for a stop of the thread: 1 with a wait status, 0: not yet, -ESRCH. The end of the thread
 * is looked at only: reaping it is its parent's, which may be somebody else in this process.
 */
static int look_for_stop(struct tracee *tracee, int flags, int *ret_status)
{
	siginfo_t stop = {0};

	if (waitid(P_PID, (id_t)tracee->tid, &stop, WEXITED | WSTOPPED | WNOWAIT | __WALL | flags) <
		0)
		return errno == EINTR ? 0 : lost(tracee);
	if (stop.si_pid == 0)
		return 0;
	if (stop.si_code != CLD_TRAPPED && stop.si_code != CLD_STOPPED)
		return lost(tracee);
	stop.si_pid = 0;
	if (waitid(P_PID, (id_t)tracee->tid, &stop, WSTOPPED | WNOHANG | __WALL) < 0)
		return lost(tracee);
	/* As waitpid(2) would say it: si_status holds signal and event. */
	*ret_status = stop.si_status << 8 | 0x7f;
	return stop.si_pid != 0;
}

static bool is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

static bool is_call_stop(int status)
{
	return status >> 16 == 0 && WSTOPSIG(status) == SYSCALL_STOP;
}

/* What the stop holds back: a signal to deliver, or 0. */
static int signal_of(int status)
{
	if (status >> 16 != 0 || is_call_stop(status))
		return 0;
	return WSTOPSIG(status);
}

static int set_registers(struct tracee *tracee, const struct user_regs_struct *registers)
{
	struct user_regs_struct copy = *registers;

	if (ptrace(PTRACE_SETREGS, tracee->tid, NULL, &copy) < 0)
		return lost(tracee);
	return 0;
}

static int get_registers(struct tracee *tracee, struct user_regs_struct *ret_registers)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, tracee->tid, NULL, &registers) < 0)
		return lost(tracee);
	*ret_registers = registers;
	return 0;
}

/* Asks a thread that runs, or will, to stop. */
static int interrupt(struct tracee *tracee)
{
	if (ptrace(PTRACE_INTERRUPT, tracee->tid, NULL, NULL) < 0)
		return lost(tracee);
	return 0;
}

/* Lets the thread run with the registers that @state says, and the signal that its stop held. */
static int resume(struct tracee *tracee, enum __ptrace_request request, enum tracee_state state)
{
	const int signal = tracee->signal;

	ASSERT(tracee->state == TRACEE_STANDS);
	ASSERT(signal == 0 || state == TRACEE_OWN);
	tracee->state = state;
	tracee->signal = 0;
	if (ptrace(request, tracee->tid, NULL, (void *)(intptr_t)signal) < 0)
		return lost(tracee);
	return 0;
}

/* The thread has stopped. */
static int arrive(struct tracee *tracee, int status)
{
	const bool was_own = tracee->state == TRACEE_OWN;

	ASSERT(tracee_is_late(tracee));
	tracee->state = TRACEE_STANDS;
	tracee->signal = signal_of(status);
	return was_own ? get_registers(tracee, &tracee->saved) : 0;
}

/* The next stop of the thread: 0, -ESRCH, -ETIMEDOUT. */
static int wait_stop(struct tracee *tracee, uint32_t timeout_ms, int *ret_status)
{
	const int flags = timeout_ms == FOREVER ? 0 : WNOHANG;
	uint64_t start_ns = clock_ns();
	uint64_t limit_ns = timeout_ms * NS_PER_MS;

	for (;;) {
		int found = look_for_stop(tracee, flags, ret_status);
		uint64_t waited_ns = clock_ns() - start_ns;

		if (found != 0)
			return found < 0 ? found : arrive(tracee, *ret_status);
		if (flags && waited_ns >= limit_ns)
			return -ETIMEDOUT;
		if (flags)
			pause_after(waited_ns);
	}
}

/* Waits for the stop that interrupt() asked for; signals that come first are passed on. */
static int wait_event_stop(struct tracee *tracee)
{
	for (uint32_t i = 0; i < SIGNALS_MAX; i++) {
		int status;
		int error = wait_stop(tracee, TRACEE_STOP_MS, &status);

		if (error)
			return error;
		if (is_event_stop(status))
			return 0;
		error = resume(tracee, PTRACE_CONT, TRACEE_OWN);
		if (error)
			return error;
	}
	return -ETIMEDOUT;
}

/* The thread stands before the delivery of a signal: deliver it where it belongs, stop again. */
static int pass_signal(struct tracee *tracee)
{
	int error = set_registers(tracee, &tracee->saved);

	ASSERT(tracee->signal > 0);
	if (!error)
		error = interrupt(tracee);
	if (!error)
		error = resume(tracee, PTRACE_CONT, TRACEE_OWN);
	return error ? error : wait_event_stop(tracee);
}

static struct user_regs_struct registers_for(
	const struct tracee *tracee, long number, const uint64_t argument[6])
{
	struct user_regs_struct registers = tracee->saved;

	registers.rip = tracee->instruction;
	registers.rax = (uint64_t)number;
	registers.orig_rax = UINT64_MAX;
	registers.rdi = argument[0];
	registers.rsi = argument[1];
	registers.rdx = argument[2];
	registers.r10 = argument[3];
	registers.r8 = argument[4];
	registers.r9 = argument[5];
	return registers;
}

/* At the entry of a call that shall not be made: on to its exit. */
static int skip_call(struct tracee *tracee)
{
	struct user_regs_struct registers;
	int error = get_registers(tracee, &registers);

	registers.orig_rax = UINT64_MAX;
	if (!error)
		error = set_registers(tracee, &registers);
	return error ? error : resume(tracee, PTRACE_SYSCALL, TRACEE_CALLS);
}

/* The next stop that the thread can be let go from: 0, -ESRCH, -ETIMEDOUT. */
static int settle(struct tracee *tracee, uint32_t timeout_ms)
{
	const bool is_entering = tracee->state == TRACEE_ENTERS;
	int status;
	int error = wait_stop(tracee, timeout_ms, &status);

	if (error || !is_entering || !is_call_stop(status))
		return error;
	error = skip_call(tracee);
	return error ? error : wait_stop(tracee, timeout_ms, &status);
}

/* The thread is late: gets it out of an interruptible sleep, or a freezer. Never 0. */
static int cut_short(struct tracee *tracee)
{
	int error = interrupt(tracee);

	if (!error)
		error = settle(tracee, TRACEE_INTERRUPT_MS);
	return error ? error : -ETIMEDOUT;
}

/* Brings the thread to the entry of the call. The call has not begun when this fails. */
static int enter_call(struct tracee *tracee, long number, const uint64_t argument[6])
{
	for (uint32_t signals = 0; signals < SIGNALS_MAX; signals++) {
		struct user_regs_struct registers;
		int status;
		int error = tracee->signal ? pass_signal(tracee) : 0;

		if (error)
			return error;
		registers = registers_for(tracee, number, argument);
		error = set_registers(tracee, &registers);
		if (!error)
			error = resume(tracee, PTRACE_SYSCALL, TRACEE_ENTERS);
		if (!error)
			error = wait_stop(tracee, TRACEE_STOP_MS, &status);
		if (error)
			return error == -ETIMEDOUT ? cut_short(tracee) : error;
		if (is_call_stop(status))
			return 0;
	}
	return -ETIMEDOUT;
}

/* The entry is passed: nothing but the exit, or the end of the thread, comes next. */
static int leave_call(struct tracee *tracee)
{
	int status;
	int error = resume(tracee, PTRACE_SYSCALL, TRACEE_CALLS);

	if (!error)
		error = wait_stop(tracee, TRACEE_CALL_MS, &status);
	return error == -ETIMEDOUT ? cut_short(tracee) : error;
}

static bool wants_restart(long result)
{
	return result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK;
}

long tracee_call(struct tracee *tracee, long number, const uint64_t argument[6])
{
	ASSERT(number >= 0);
	for (uint32_t i = 0; i < RESTARTS_MAX; i++) {
		struct user_regs_struct registers;
		int error;

		if (tracee_is_late(tracee))
			return -ETIMEDOUT;
		if (tracee->state == TRACEE_GONE)
			return -ESRCH;
		error = enter_call(tracee, number, argument);
		if (!error)
			error = leave_call(tracee);
		if (!error)
			error = get_registers(tracee, &registers);
		if (error)
			return error;
		if (!wants_restart((long)registers.rax))
			return (long)registers.rax;
	}
	return -EINTR;
}

void tracee_wait_out(struct tracee *tracee)
{
	if (tracee_is_late(tracee))
		(void)settle(tracee, FOREVER);
	ASSERT(!tracee_is_late(tracee));
}

void tracee_release(struct tracee *tracee)
{
	ASSERT(!tracee_is_late(tracee));
	if (tracee->state == TRACEE_GONE)
		return;
	if (set_registers(tracee, &tracee->saved) == 0)
		(void)ptrace(PTRACE_DETACH, tracee->tid, NULL, (void *)(intptr_t)tracee->signal);
	tracee->state = TRACEE_GONE;
}

/* The glibc of Debian 12 has the request but not always the name. */
#define GET_RSEQ_CONFIGURATION 0x420f

struct rseq_configuration {
	uint64_t address;
	uint32_t size_bytes;
	uint32_t signature;
	uint32_t flags;
	uint32_t padding;
};

static bool read_memory(pid_t pid, uint64_t address, void *ret_bytes, size_t size_bytes)
{
	struct iovec local = {.iov_base = ret_bytes, .iov_len = size_bytes};
	struct iovec remote = {.iov_base = (void *)address, .iov_len = size_bytes};

	return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)size_bytes;
}

/* Inside a restartable sequence; the kernel clears the pointer lazily, so rip has the last word. */
static bool is_in_rseq(const struct tracee *tracee)
{
	struct rseq_configuration configuration;
	struct rseq_cs section;
	uint64_t pointer = 0;
	long size = ptrace((enum __ptrace_request)GET_RSEQ_CONFIGURATION, tracee->tid,
		(void *)sizeof(configuration), &configuration);

	if (size < (long)sizeof(configuration) || configuration.address == 0)
		return false;
	if (!read_memory(tracee->pid, configuration.address + offsetof(struct rseq, rseq_cs),
		    &pointer, sizeof(pointer)))
		return false;
	if (pointer == 0 || !read_memory(tracee->pid, pointer, &section, sizeof(section)))
		return false;
	return tracee->saved.rip - section.start_ip < section.post_commit_offset;
}

/* The stopped thread must be one that calls can be run in. */
static int check_stopped(struct tracee *tracee, struct problem *problem)
{
	if (tracee->saved.cs != CODE_64)
		return problem_set(problem, -EOPNOTSUPP, "not-64-bit",
			"process %d runs 32-bit code; only 64-bit VMMs can be attached",
			tracee->pid);
	if ((long)tracee->saved.orig_rax < 0 && is_in_rseq(tracee))
		return problem_set(problem, -EAGAIN, "in-rseq",
			"thread %d of process %d is in a restartable sequence; try again",
			tracee->tid, tracee->pid);
	return syscall_insn_find(tracee->pid, &tracee->saved, &tracee->instruction, problem);
}

/* Begins to trace the thread, with seccomp suspended unless it has none. */
static int seize(const struct tracee *tracee, struct problem *problem)
{
	uintptr_t plain = PTRACE_O_TRACESYSGOOD;
	uintptr_t suspended = PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP;
	struct procfs_status status;
	int error;

	if (ptrace(PTRACE_SEIZE, tracee->tid, NULL, (void *)suspended) == 0)
		return 0;
	error = procfs_status(tracee->pid, tracee->tid, &status);
	if (error)
		return error;
	if (status.seccomp == 0 && ptrace(PTRACE_SEIZE, tracee->tid, NULL, (void *)plain) == 0)
		return 0;
	return permit_explain(tracee->pid, tracee->tid, problem);
}

static int stop_seized(struct tracee *tracee, struct problem *problem)
{
	int error = interrupt(tracee);

	if (!error)
		error = wait_event_stop(tracee);
	if (error == -ETIMEDOUT)
		return problem_set(problem, error, "no-stop",
			"thread %d of process %d did not stop within %u ms; it may wait for I/O",
			tracee->tid, tracee->pid, TRACEE_STOP_MS);
	if (error)
		return problem_set(
			problem, error, "process-gone", "process %d has ended", tracee->pid);
	tracee->stopped_ns = clock_ns();
	return 0;
}

int tracee_stop(struct tracee *ret_tracee, pid_t pid, pid_t tid, struct problem *problem)
{
	struct tracee tracee = {.pid = pid, .tid = tid, .state = TRACEE_OWN};
	int error;

	ASSERT(pid > 0 && tid > 0);
	error = seize(&tracee, problem);
	if (error)
		return error;
	error = stop_seized(&tracee, problem);
	if (error)
		return error;
	error = check_stopped(&tracee, problem);
	if (error) {
		tracee_release(&tracee);
		return error;
	}
	*ret_tracee = tracee;
	return 0;
}

int tracee_adopt_exec(struct tracee *ret_tracee, pid_t pid, struct problem *problem)
{
	struct tracee tracee = {
		.pid = pid, .tid = pid, .state = TRACEE_STANDS, .stopped_ns = clock_ns()};
	int status;
	int error;

	ASSERT(pid > 0);
	/* At the event the thread is still inside execve(2); its exit stop is the entry of the
	 * program. */
	error = resume(&tracee, PTRACE_SYSCALL, TRACEE_CALLS);
	if (!error)
		error = wait_stop(&tracee, TRACEE_STOP_MS, &status);
	if (!error)
		error = get_registers(&tracee, &tracee.saved);
	if (error)
		return problem_set(problem, error, "process-gone",
			"process %d ended while it was started", pid);
	tracee.saved.orig_rax = UINT64_MAX;
	error = check_stopped(&tracee, problem);
	if (error) {
		tracee_release(&tracee);
		return error;
	}
	*ret_tracee = tracee;
	return 0;
}
