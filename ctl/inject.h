/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls run inside another process: one of its threads is stopped with ptrace for the time
 * of a few calls and continues as if nothing had been. Nothing is written into the target but what
 * a call itself writes. Sequence, thread choice and hazards: inject.c. x86-64.
 *
 * The injector process does the tracing (injector.h; it must have been started), so the end of this
 * one at any instant leaves the target as it was. An injection belongs to one thread at a time,
 * which must not be the one that reads events of the target's userfaultfds. Every wait has a bound.
 * An injection that is left alone for some seconds is ended from the other side: -ETIMEDOUT from
 * then on.
 */
#ifndef VMSWAP_CTL_INJECT_H
#define VMSWAP_CTL_INJECT_H

#include <stdint.h>

struct injection;
struct problem;
struct target;

/*
 * Stops a suited thread of the process that @target's pidfd is of; nothing is run in another one
 * that has its number by now, nor in a program that it executes later, once @target has a
 * userfaultfd. -EPERM: ptrace forbidden, or seccomp that cannot be suspended; -ESRCH: gone;
 * -ETIMEDOUT: no thread stopped in time; -EBUSY: traced by somebody else, or for more than a second
 * by another injection, maybe of a worker that was killed; -EOWNERDEAD: the injector has died.
 * @problem says it in words.
 */
int inject_begin(
	const struct target *target, struct injection **ret_injection, struct problem *problem);
/*
 * Runs one call there: its result, or -errno of the call. -ESRCH: the process died; -ETIMEDOUT: it
 * did not return in time; unless an interruption got it out, nothing else can be run; -EOWNERDEAD.
 */
long inject_call(struct injection *injection, long number, const uint64_t argument[6]);
/*
 * Puts the thread back as it was. Always call it once. NULL is fine. ret: microseconds it was
 * stopped. After a call that timed out the thread is put back when that call returns, which may
 * be later.
 */
uint64_t inject_end(struct injection *injection);
/* The same; unless it is 0, the injector may have closed in the target what was made there last. */
int inject_end_sure(struct injection *injection, uint64_t *ret_stopped_us);

/*
 * Makes @count userfaultfds inside the target and brings them here. Unprivileged targets get them
 * through the daemon's own /dev/userfaultfd, passed in over a socket pair. The target keeps its
 * copies (numbers in ret_remote): if ours close, its memory must not read as zeros. The injector
 * closes them there if we die before the next request: until then nobody else knows of them.
 */
int inject_uffds(struct injection *injection, uint32_t count, int *ret_fds, int *ret_remote,
	struct problem *problem);
/* Closes descriptors that this injection has made in the target. */
void inject_close(struct injection *injection, const int *remote, uint32_t count);
/*
 * A whole injection that closes those of @remote that are copies of our @fds: a number may lead to
 * something else by now. Those that are negative are passed over. How many were closed, or as
 * inject_begin().
 */
int inject_close_copies(const struct target *target, const int *remote, const int *fds,
	uint32_t count, struct problem *problem);

struct inject_zapped {
	int result; /* of the madvise: 0 or -errno */
	uint64_t stopped_us;
};

/*
 * madvise(DONTNEED_LOCKED, DONTNEED before 5.18) on [address, address + size). Begin, zap and end
 * are one request: how long the target stands depends on nothing but itself. 0 when it was tried,
 * else as inject_begin().
 */
int inject_zap(const struct target *target, uint64_t address, uint64_t size_bytes,
	struct inject_zapped *ret_zapped, struct problem *problem);

#endif
