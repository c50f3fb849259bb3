/* SPDX-License-Identifier: Apache-2.0 */
/* A system call between two looks at every register, for whoever is traced meanwhile. x86-64. */
#ifndef VMSWAP_TESTS_E2E_CHECKED_CALL_H
#define VMSWAP_TESTS_E2E_CHECKED_CALL_H

#include <stdbool.h>
#include <stdint.h>

/* No call: a loop in user code. */
#define CHECKED_LOOP (-1)

/*
 * Loads random values into all registers that a system call keeps, into the red zone and all xmm
 * registers, makes the call, and compares. False when anything differs.
 */
bool checked_call(long number, const uint64_t argument[4], uint64_t *random, int64_t *ret_result);
/* The next of a sequence; *@state must not be 0. */
uint64_t checked_random(uint64_t *state);

#endif
