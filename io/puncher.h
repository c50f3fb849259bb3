/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that punches holes for one io_uring's owner; part of uring.c. io_uring hands every
 * fallocate to a kernel worker of its own choice, and a scattered chunk is hundreds of them: each
 * cost 9 us there, 1.5 us here. The punches of one ring run one after the other, in order, and the
 * threads of several rings take turns at a file, which is all the inode's lock allows anyway.
 *
 * The owner pushes and pops; items in flight are bounded by the capacity. After some punches the
 * thread yields, so that no guest waits long for the CPU behind them. It has no low priority: a
 * fault on a page that is being punched waits for it.
 */
#ifndef VMSWAP_IO_PUNCHER_H
#define VMSWAP_IO_PUNCHER_H

#include <stdbool.h>
#include <stdint.h>

struct puncher;

struct punched {
	uint64_t token;
	int32_t result; /* 0 or -errno */
};

/* @capacity: punches in flight, a power of two. -errno. */
int puncher_open(uint32_t capacity, struct puncher **ret_puncher);
/* Ends the thread; punches that were pushed are done first. NULL is fine. */
void puncher_close(struct puncher *puncher);

/* Owner. More than the capacity is an assertion. Begins with the next puncher_kick(). */
void puncher_push(
	struct puncher *puncher, uint64_t token, int fd, uint64_t offset, uint64_t size_bytes);
/* Owner. Lets the thread know of what was pushed; no system call when it knows. */
void puncher_kick(struct puncher *puncher);
/* Owner. Takes one result; false when there is none. */
bool puncher_pop(struct puncher *puncher, struct punched *ret_punched);

/*
 * Owner. Before it sleeps it says so and looks once more (true: there is a result); after that
 * puncher_eventfd() becomes readable with the next one. puncher_awake() after the sleep.
 */
bool puncher_prepare_sleep(struct puncher *puncher);
void puncher_awake(struct puncher *puncher);
int puncher_eventfd(const struct puncher *puncher);
/* Owner. The eventfd was reported readable. */
void puncher_drain(struct puncher *puncher);

#endif
