/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's control side in one thread: real server, sessions, methods, manager and engine, and
 * the fake worker. One client, whose bytes are the fuzzer's.
 */
#ifndef VMSWAP_TESTS_FUZZ_RIG_H
#define VMSWAP_TESTS_FUZZ_RIG_H

#include <stddef.h>
#include <stdint.h>

/* Connects the client; the first call starts everything, in the working directory. */
void rig_begin(void);
/* Sends @size bytes, the first of them with @fd_count descriptors, and lets the server handle them.
 */
void rig_say(const uint8_t *bytes, size_t size, uint32_t fd_count);
/* Lets a job end or a process die, as @choice says. */
void rig_work(uint8_t choice);
/* Disconnects, detaches all, and aborts when anything is left: a VM, a waiter, a descriptor. */
void rig_end(void);

#endif
