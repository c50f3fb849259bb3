/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleep and wake between the producers of a queue and its one sleeper, through an eventfd that is
 * written only when the sleeper said that it sleeps: a cross-CPU wake costs the sender 8 us.
 *
 *   sleeper                             producer
 *   wake_prepare()   asleep = 1         push the item
 *   look at the queue again             wake_notify()  asleep? then write the eventfd
 *   empty: sleep on wake->eventfd
 *   wake_done()      asleep = 0, drain
 *
 * Each side stores first and loads second with a full fence between, so at least one of the two
 * sees the other: a wake-up cannot be lost.
 */
#ifndef VMSWAP_QUEUE_WAKE_H
#define VMSWAP_QUEUE_WAKE_H

#include <stdint.h>

#include "queue/base/bits.h"

/* One cache line: the producer that reads the flag needs the descriptor next. */
struct wake {
	/* constant after wake_init() */
	_Alignas(CACHE_LINE) int eventfd;
	/* any thread, atomics */
	_Atomic uint32_t asleep;
};

/* -errno of eventfd(2). */
int wake_init(struct wake *wake);
void wake_destroy(struct wake *wake);

/* The sleeper announces that it will sleep; it must look at its queues again afterwards. */
void wake_prepare(struct wake *wake);
/* The sleeper is awake again, whether it slept or not. Drains the eventfd. */
void wake_done(struct wake *wake);
/*
 * As wake_done() without draining, for a sleeper whose poll of the eventfd is edge triggered: what
 * a notification left there wakes nobody twice, so it drains when its poll reports it, and a sleep
 * that something else ended costs no system call.
 */
void wake_leave(struct wake *wake);
void wake_drain(struct wake *wake);
/* After a push. Any thread. Never blocks. */
void wake_notify(struct wake *wake);

#endif
