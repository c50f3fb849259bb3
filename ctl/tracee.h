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
/* What an interruptible call gets to come back once it is interrupted. */
#define TRACEE_INTERRUPT_MS 500u

struct tracee {
	pid_t pid;
	pid_t tid;
	struct user_regs_struct saved; /* as it was stopped */
	uint64_t instruction;	       /* where a syscall instruction is */
	uint64_t stopped_ns;	       /* clock_ns() of the stop */
	bool is_stopped;
	bool is_in_call; /* a call timed out and has not come back */
};

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

/* Result or -errno of the call; -ESRCH: gone; -ETIMEDOUT: see is_in_call. */
long tracee_call(struct tracee *tracee, long number, const uint64_t argument[6]);
/* Waits, without a bound, until a call that timed out is back or the thread is gone. */
void tracee_wait_out(struct tracee *tracee);
/* Puts the registers back and lets the thread go. Nothing if it is gone; not while is_in_call. */
void tracee_release(struct tracee *tracee);

#endif
