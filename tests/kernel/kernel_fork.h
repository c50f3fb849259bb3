/* SPDX-License-Identifier: Apache-2.0 */
/* A child of a thread of ours that reads one byte of the machine's memory when it is told to. */
#ifndef VMSWAP_TESTS_KERNEL_FORK_H
#define VMSWAP_TESTS_KERNEL_FORK_H

#include "kernel_fault.h"

/* A pipe: the child waits for a byte. */
static int release[2];

/* For start(): its result is the child, whose exit code is what it read. */
static void run_fork(struct background *background)
{
	uint8_t byte;

	background->result = fork();
	if (background->result == 0) {
		(void)!read(release[0], &byte, 1);
		_exit(*background->address);
	}
}

#endif
