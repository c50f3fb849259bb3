/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread of another process under ptrace: stop it, run system calls in it, let it go as it was.
 * ptrace binds to a thread: every call on one tracee comes from the thread that stopped it, and
 * when that thread ends the kernel lets the tracee go by itself. x86-64.
 */
#ifndef VMSWAP_CTL_TRACEE_H
#define VMSWAP_CTL_TRACEE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct problem;

/* A running thread needs microseconds to stop, one that is in a disk read as long as the read
 * takes. */
#define TRACEE_STOP_MS 2000u
/* A zap of 64 MiB takes milliseconds, but may wait for the mmap lock behind I/O. */
#define TRACEE_CALL_MS 30000u
/* What a thread that is late gets to stop once it is interrupted. */
#define TRACEE_INTERRUPT_MS 500u

enum tracee_state {
	TRACEE_GONE,   /* ended, or let go */
	TRACEE_STANDS, /* in a stop: its registers can be read and written */
	/* It runs; when a function returns in one of these, it is late: tracee_is_late(). */
	TRACEE_OWN,    /* with its own registers: a signal is passed on */
	TRACEE_ENTERS, /* with ours, before our call has begun */
	TRACEE_CALLS,  /* with ours, in the call */
};

struct tracee {
	pid_t pid;
	pid_t tid;
	enum tracee_state state;
	int signal; /* its stop holds this one back: to be delivered when it goes on as itself */
	struct user_regs_struct saved; /* as it was stopped */
	uint64_t instruction;	       /* where a syscall instruction is */
	uint64_t stopped_ns;	       /* clock_ns() of the stop */
};

/*
 * It does not stop: a call that does not come back, a thread that is frozen or gets no CPU. Nothing
 * can be run in it and nothing put back: it must be waited for.
 */
static inline bool tracee_is_late(const struct tracee *tracee)
{
	return tracee->state > TRACEE_STANDS;
}

/*
 * Stops @tid of @pid. -EPERM, -EBUSY, -ESRCH, -ETIMEDOUT (the thread stays seized until the
 * caller's thread ends), -EOPNOTSUPP: not 64-bit code, -EAGAIN: in a place where it must not be
 * disturbed (an rseq critical section); @problem says it in words.
 */
int tracee_stop(struct tracee *ret_tracee, pid_t pid, pid_t tid, struct problem *problem);
/*
 * Takes over a child of the calling thread that it traces (PTRACE_SEIZE, PTRACE_O_TRACESYSGOOD) and
 * that stands at PTRACE_EVENT_EXEC: it is then before the first instruction of its program.
 */
int tracee_adopt_exec(struct tracee *ret_tracee, pid_t pid, struct problem *problem);

/*
 * Result or -errno of the call; -ESRCH: gone; -ETIMEDOUT: it did not begin, or was cut short or,
 * when the thread is late now, has not come back.
 */
long tracee_call(struct tracee *tracee, long number, const uint64_t argument[6]);
/* Waits, without a bound, until a thread that is late stands or is gone. */
void tracee_wait_out(struct tracee *tracee);
/* Puts the registers back and lets the thread go. Nothing if it is gone; not while it is late. */
void tracee_release(struct tracee *tracee);

#endif
