/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker and its supervisor say to each other: one fixed struct a message, over a
 * SOCK_SEQPACKET pair, descriptors beside it. The worker asks, the supervisor answers each request
 * once, in order, but those of serial 0: nobody waits for their answers. Nothing is ever sent
 * unasked.
 *
 *   worker                                      supervisor
 *   HELLO                                  ──►  restarts, upgrade, count of entries
 *   FETCH entry, first                     ──►  name, total, the descriptors from first on
 *   STORE name, first, total + descriptors ──►  held: an entry counts once all of it is there
 *   FORGET name                            ──►  closed
 *   FORGET_BELOW name                      ──►  all whose names begin with name and "/" are closed
 *   READY                                  ──►  whoever started the daemon is told
 *   UPGRADE + one descriptor, a program    ──►  about to be killed and replaced
 *   BYE                                    ──►  the exit that follows is orderly
 *
 * A newer worker may speak to an older supervisor: a change here changes LAYOUT_VERSION.
 */
#ifndef VMSWAP_CTL_SUPERVISOR_HANDOVER_H
#define VMSWAP_CTL_SUPERVISOR_HANDOVER_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

/* "vmswaph" and the version of the struct. */
#define HANDOVER_MAGIC 0x0168706177736d76ull
/* With the zero at the end. */
#define HANDOVER_NAME_BYTES 64u
/* The kernel's bound a message (SCM_MAX_FD). */
#define HANDOVER_FDS_MAX 253u
/* Names that begin so belong to the daemon and to no guest: nobody misses them at its end. */
#define HANDOVER_DAEMON_PREFIX "daemon."
/* Where the worker finds its end of the pair. */
#define HANDOVER_ENVIRONMENT "VMSWAPD_SUPERVISOR_FD"
/* What it is started for, a number of enum handover_mode; without it: HANDOVER_NORMAL. */
#define HANDOVER_MODE_ENVIRONMENT "VMSWAPD_MODE"

enum handover_mode {
	HANDOVER_NORMAL,
	HANDOVER_MINIMAL, /* serves faults and brings memory back, and does nothing else */
	HANDOVER_RESCUE,  /* no worker: ctl/rescue, whose flags are added */
	HANDOVER_RESCUE_LAST = HANDOVER_RESCUE + 3,
	HANDOVER_MODES,
};

enum handover_kind {
	HANDOVER_HELLO = 1,
	HANDOVER_FETCH,
	HANDOVER_STORE,
	HANDOVER_FORGET,
	HANDOVER_FORGET_BELOW,
	HANDOVER_READY,
	HANDOVER_UPGRADE,
	HANDOVER_BYE,
	HANDOVER_ANSWER, /* to each of the above */
};

/* How the last upgrade ended, as the worker that was started by it sees it. */
enum handover_upgrade {
	HANDOVER_UPGRADE_NONE,
	HANDOVER_UPGRADE_DONE,
	HANDOVER_UPGRADE_FAILED, /* the new program did not come up: the old one is back */
};

struct handover_message {
	uint64_t magic;
	uint64_t serial; /* the answer's is its request's; 0: no answer */
	uint32_t kind;	 /* enum handover_kind */
	int32_t result;	 /* of an answer: 0 or -errno */
	uint32_t entry;	 /* FETCH: which, from 0; answer to HELLO: how many there are */
	uint32_t first;	 /* place in its entry of the message's first descriptor */
	uint32_t total;	 /* descriptors of the entry */
	uint32_t restarts;
	int32_t supervisor_pid;
	uint32_t upgrade; /* enum handover_upgrade */
	char name[HANDOVER_NAME_BYTES];
};
static_assert(sizeof(struct handover_message) == 112, "no padding, the same in each version");

/* Whether @name begins with @above and a "/". */
bool handover_is_below(const char *name, const char *above);
/*
 * Sends one message with @count descriptors, which stay the sender's. 0 or -errno; never raises
 * SIGPIPE, allocates nothing. Whether it waits is the socket's matter.
 */
int handover_send(
	int socket, const struct handover_message *message, const int *fds, uint32_t count);
/* As above, but -EAGAIN when it would wait. Any thread of the worker. */
int handover_post(
	int socket, const struct handover_message *message, const int *fds, uint32_t count);
/*
 * Receives one; @ret_fds has room for HANDOVER_FDS_MAX, which are the caller's then. -EBADMSG: not
 * one of ours (size, magic, a name without end, too many descriptors: all closed). -ECONNRESET: the
 * other end is closed. -EAGAIN as the socket is set.
 */
int handover_receive(
	int socket, struct handover_message *ret_message, int *ret_fds, uint32_t *ret_count);

#endif
