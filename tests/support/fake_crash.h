/* SPDX-License-Identifier: Apache-2.0 */
/* The death of the daemon in the fake world; see fake_config.crash_in. */
#ifndef VMSWAP_TESTS_FAKE_CRASH_H
#define VMSWAP_TESTS_FAKE_CRASH_H

/*
 * The daemon may die here: at every scheduling point, and wherever else a test says so (stores to
 * shared memory).
 */
void fake_crash_point(void);
/*
 * It died: what its rings had under way happens, does not happen, or, of writes to the disk, may
 * happen until fake_drain(). Rings that were open are forgotten.
 */
void fake_crash(void);
void fake_drain(void);
/* None of them does. */
void fake_forget_writes(void);

#endif
