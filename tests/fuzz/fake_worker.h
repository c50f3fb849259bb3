/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes the place of ctl/worker.c: jobs run when the fuzz target says so, in its thread, and end as
 * it says. Nothing is attached, injected or moved; the VM is a real one of the engine with one
 * chunk.
 */
#ifndef VMSWAP_TESTS_FUZZ_FAKE_WORKER_H
#define VMSWAP_TESTS_FUZZ_FAKE_WORKER_H

#include "ctl/state.h"

struct engine;
struct job;

/* What the engine keeps of the first VM for those that follow exists afterwards. */
void fake_worker_warm(struct engine *engine);

/* Runs the oldest job of any worker; @outcome is what it is to come to. NULL: there is none. */
struct job *fake_worker_run(enum outcome outcome);

#endif
